"""A real Triton, out of `scripts/fetch_triton`: it has the Python backend, and none for GPUs."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from nodeagent.replica_spec import ReplicaSpec
from nodeagent.runtimes.base import Launch, ServerPlan
from nodeagent.runtimes.triton import TritonRuntime
from nodeagent.runtimes.triton_config import ConfigLimits
from nodeagent.runtimes.triton_install import find_triton
from nodeagent.shared_memory import SEGMENTS, remove_segments, segment_prefix
from tests.harness.programs import wait_for

CACHE = Path(__file__).parents[2] / ".cache" / "triton"
PROGRAM = CACHE / "pytriton" / "tritonserver" / "bin" / "tritonserver"

# CI fails earlier, in scripts/test, where it cannot be had.
needs_triton = pytest.mark.skipif(
    not (CACHE / "complete").exists(), reason="no Triton here: scripts/fetch_triton gets one"
)


def make_runtime() -> TritonRuntime:
    return TritonRuntime(find_triton(PROGRAM, None), ConfigLimits(1 << 16), drain_timeout_s=10.0)


@dataclass
class RunningTriton:
    """One replica's. `stub` speaks KServe v2 with it."""

    process: "subprocess.Popen[bytes]"
    plan: ServerPlan
    folder: Path
    stub: service_pb2_grpc.GRPCInferenceServiceStub

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def children(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def segments(self) -> list[Path]:
        return list_segments(self.folder)


def list_segments(folder: Path) -> list[Path]:
    """Shared memory of the replica in that folder."""
    return list(SEGMENTS.glob(f"{segment_prefix(folder)}*"))


def launch(plan: ServerPlan, folder: Path) -> "subprocess.Popen[bytes]":
    """As the agent does, and in a session of its own; what it says goes to `log`."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            list(plan.command(-1)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, **plan.environment},
            start_new_session=True,
        )


@contextmanager
def running_triton(spec: ReplicaSpec, file: Path, folder: Path) -> Iterator[RunningTriton]:
    """Ready. At its end nothing of it is left."""
    plan = make_runtime().plan(Launch(spec, file, folder, "127.0.0.1"))
    process = launch(plan, folder)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{plan.port}") as channel:
            running = RunningTriton(process, plan, folder, service_pb2_grpc.GRPCInferenceServiceStub(channel))
            wait_for(lambda: process.poll() is not None or _is_ready(running), "Triton", 90)
            if process.poll() is not None:
                raise AssertionError(f"Triton ended with code {process.returncode}:\n{running.log()[-4000:]}")
            yield running
    finally:
        process.terminate()  # killed, its Python backend would leave an empty folder in /tmp
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        remove_segments(folder)


def _is_ready(running: RunningTriton) -> bool:
    with suppress(grpc.RpcError):
        return bool(running.stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=5).ready)
    return False
