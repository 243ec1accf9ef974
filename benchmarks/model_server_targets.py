"""What is compared: servers of one model in processes of their own, and the bare loop. All are started by one call."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psutil
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from benchmarks.model_server_mlserver import write_repository
from benchmarks.model_server_models import Model
from nodeagent.devices.cpu import thread_environment
from nodeagent.replica_spec import ReplicaSpec, TensorSpec
from nodeagent.runtimes.base import Launch
from nodeagent.runtimes.builtin import BuiltinRuntime
from nodeagent.runtimes.triton import choose_ports
from tests.harness.triton import running_triton

BUILTIN, BUILTIN_MERGING = "built-in", "built-in, merging"
TRITON, TRITON_MERGING = "Triton", "Triton, merging"
MINIMAL, MLSERVER = "grpc.aio", "MLServer"
MERGED_ROWS = 16  # the most that Triton merges; the built-in server finds out by itself how many help
_START_S = 60.0


@dataclass(frozen=True)
class Server:
    """`pid`: of the process that it began as; what that has started belongs to it, too."""

    name: str
    port: int
    pid: int

    def cpu_s(self) -> float:
        """CPU seconds of all its threads, to the nanosecond that the scheduler counts."""
        return (
            sum(int((task / "schedstat").read_text().split()[0]) for pid in self._pids() for task in _tasks(pid)) / 1e9
        )

    def pin(self, cores: Sequence[int]) -> None:
        for task in (task for pid in self._pids() for task in _tasks(pid)):
            os.sched_setaffinity(int(task.name), cores)

    def _pids(self) -> list[int]:
        return [self.pid, *(child.pid for child in psutil.Process(self.pid).children(recursive=True))]


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


Start = Callable[[Model, int], AbstractContextManager[Server]]  # of a model, with so many threads


@contextmanager
def all_running(starts: Sequence[Start], model: Model, threads: int, cores: Sequence[int]) -> Iterator[list[Server]]:
    """All of them at once, in that order, and on these cores once they are ready."""
    with ExitStack() as stack:
        with ThreadPoolExecutor() as pool:
            servers = list(pool.map(lambda start: stack.enter_context(start(model, threads)), starts))
        for server in servers:
            server.pin(cores)
        yield servers


@contextmanager
def running_builtin(name: str, max_batch_rows: int, model: Model, threads: int) -> Iterator[Server]:
    """As the agent starts it."""
    runtime = BuiltinRuntime(
        max_message_bytes=256 << 20,
        max_typed_bytes=8 << 20,
        max_string_elements=1 << 20,
        max_batch_size=1 << 16,
        max_concurrent_requests=128,
        drain_timeout_s=0.0,
    )
    read_end, write_end = os.pipe()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        plan = runtime.plan(make_launch(model, threads, max_batch_rows, Path(folder)))
        environment = {**os.environ, **plan.environment}
        log = stack.enter_context((Path(folder) / "log").open("w+"))
        command = list(plan.command(write_end))
        process = subprocess.Popen(command, env=environment, pass_fds=[write_end], stderr=log)
        os.close(write_end)
        stack.enter_context(_stopping(process))
        line = stack.enter_context(os.fdopen(read_end)).readline()
        if not line:
            sys.exit(f"the built-in server did not start:\n{Path(log.name).read_text()}")
        yield Server(name, json.loads(line)["port"], process.pid)


@contextmanager
def running_real_triton(name: str, max_batch_rows: int, model: Model, threads: int) -> Iterator[Server]:
    """As the agent starts it."""
    with tempfile.TemporaryDirectory() as folder:
        spec = make_launch(model, threads, max_batch_rows, Path(folder)).spec
        with running_triton(spec, model.file, Path(folder)) as running:
            yield Server(name, running.plan.port, running.process.pid)


@contextmanager
def running_minimal(model: Model, threads: int) -> Iterator[Server]:
    program = Path(__file__).with_name("model_server_minimal.py")
    environment = {**os.environ, **thread_environment(threads)}
    command = [sys.executable, str(program), str(model.file), str(threads)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    with _stopping(process):
        assert process.stdout
        port = int(process.stdout.readline() or sys.exit("the minimal server did not start"))
        yield Server(MINIMAL, port, process.pid)


@contextmanager
def running_mlserver(program: Path, model: Model, threads: int) -> Iterator[Server]:
    ports = choose_ports("127.0.0.1", 2)
    environment = {**os.environ, **thread_environment(threads)}
    with tempfile.TemporaryDirectory() as name, (Path(name) / "log").open("wb") as log:
        write_repository(Path(name), model.file, threads, ports)
        process = subprocess.Popen([str(program), "start", name], env=environment, cwd=name, stdout=log, stderr=log)
        with _stopping(process):
            wait_ready(ports[0], process, Path(name) / "log")
            yield Server(MLSERVER, ports[0], process.pid)


def make_launch(model: Model, threads: int, max_batch_rows: int, folder: Path) -> Launch:
    spec = ReplicaSpec(
        replica_id="m-1",
        model="m",
        version=1,
        format="MODEL_FORMAT_ONNX",
        sha256="0" * 64,
        size_bytes=model.file.stat().st_size,
        inputs=(TensorSpec(model.input, model.datatype, (-1, *model.row.shape[1:])),),
        outputs=(TensorSpec(model.output, "FP32", (-1, *model.answer.shape[1:])),),
        cores=(),
        threads=threads,
        memory_bytes=0,
        max_batch_rows=max_batch_rows,
    )
    return Launch(spec, model.file, folder, "127.0.0.1")


def wait_ready(port: int, process: "subprocess.Popen[Any]", log: Path) -> None:
    end = time.monotonic() + _START_S
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while process.poll() is None and time.monotonic() < end:
            with suppress(grpc.RpcError):
                if stub.ModelReady(pb.ModelReadyRequest(name="m"), timeout=2).ready:
                    return
            time.sleep(0.05)
    sys.exit(f"{process.args!r} is not ready:\n{log.read_text()[-2000:]}")


@contextmanager
def _stopping(process: "subprocess.Popen[Any]") -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def list_starts(mlserver: Path | None, *, with_triton: bool) -> dict[str, Start]:
    """By name. `mlserver`: its program, where there is one."""
    starts: dict[str, Start] = {
        BUILTIN: partial(running_builtin, BUILTIN, 1),
        BUILTIN_MERGING: partial(running_builtin, BUILTIN_MERGING, 0),
        MINIMAL: running_minimal,
    }
    if with_triton:
        starts[TRITON] = partial(running_real_triton, TRITON, 1)
        starts[TRITON_MERGING] = partial(running_real_triton, TRITON_MERGING, MERGED_ROWS)
    if mlserver:
        starts[MLSERVER] = partial(running_mlserver, mlserver)
    return starts


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
