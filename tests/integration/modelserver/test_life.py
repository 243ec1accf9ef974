"""How a model server starts, drains, and ends."""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.harness.models import write_scale_model
from tests.harness.onnx_models import tensor, write_counting_model, write_model, write_stubborn_model
from tests.harness.programs import Program, wait_for
from tests.integration.modelserver.conftest import StartServer


@contextlib.contextmanager
def stub_of(server: Program) -> Any:
    with grpc.insecure_channel(server.facts["address"]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def scale_request(values: Sequence[float]) -> Any:
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.array(values, np.float32).tobytes())
    return request


def counting_request(times: int) -> Any:
    """A request that takes about a microsecond for each of `times`."""
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="n", datatype="INT64", shape=[1]).contents.int64_contents.append(times)
    return request


def run_to_the_end(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodeagent.modelserver", "--model", "m", "--version", "3", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class SteadyCallers:
    """Threads that ask without pause, each on a connection of its own, until they are told to stop.

    `longest_pause_s`: in which none of them heard anything, up to the first failure; a host that is busy holds them up.
    """

    def __init__(self, server: Program, count: int) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self.longest_pause_s = 0.0
        self._heard_at = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._server = server
        self._threads = [threading.Thread(target=self._call, args=(index,)) for index in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, index: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._server.facts["address"], options=options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            row = [index, index + 1, index + 2, index + 3]
            while not self._stop.is_set():
                try:
                    response = stub.ModelInfer(scale_request(row), timeout=30)
                    assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [2 * x for x in row]
                    self._note()
                except Exception as error:
                    self._note(repr(error))

    def _note(self, failure: str = "") -> None:
        with self._lock:
            pause_s, self._heard_at = time.monotonic() - self._heard_at, time.monotonic()
            if not self.failures:
                self.longest_pause_s = max(self.longest_pause_s, pause_s)
            if failure:
                self.failures.append(failure)
            else:
                self.answered += 1


def test_a_drain_under_load_fails_no_request(start_server: StartServer, tmp_path: Path) -> None:
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    for tries_left in reversed(range(5)):
        server = start_server(file)
        callers = SteadyCallers(server, 4)
        try:
            drain_under(callers, server)
            break
        except (AssertionError, grpc.RpcError):
            # Held up for so long, they were no load: the server is right to end (_QUIET_S in its main.py).
            if callers.longest_pause_s < 0.25 or not tries_left:
                raise
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.facts["port"]))


def drain_under(callers: SteadyCallers, server: Program) -> None:
    try:
        with stub_of(server) as stub:
            wait_for(lambda: callers.answered > 200, "200 answers")
            callers.longest_pause_s = 0.0
            psutil.Process(server.pid).send_signal(signal.SIGTERM)
            # As a proxy does: it goes on sending until it hears that the server leaves, and for a while after that.
            wait_for(lambda: not stub.ServerReady(pb.ServerReadyRequest()).ready, "not ready")
            assert not stub.ModelReady(pb.ModelReadyRequest(name="m")).ready
            assert stub.ServerLive(pb.ServerLiveRequest()).live
            heard = callers.answered
            wait_for(lambda: callers.failures or callers.answered > heard + 500, "500 answers after the signal")
    finally:
        callers.stop()
    assert server.stop() == 0
    assert not callers.failures


def test_health_says_that_it_leaves(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_counting_model(tmp_path / "m.onnx"))
    with grpc.insecure_channel(server.facts["address"]) as channel:
        busy = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(counting_request(500_000))
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        psutil.Process(server.pid).send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert np.frombuffer(busy.result().raw_output_contents[0], np.float32) == [500_000]
    assert server.stop() == 0


def test_streams_that_stand_idle_do_not_hold_up_a_drain(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_scale_model(tmp_path / "m.onnx", 2.0), "--drain-timeout-s", "1000")
    with grpc.insecure_channel(server.facts["address"]) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        requests.put(scale_request([1, 2, 3, 4]))
        answers = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(requests.get, None))
        assert next(answers).infer_response.model_name == "m"
        assert server.stop() == 0
        requests.put(None)


def test_a_drain_ends_in_time_whatever_runs(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_counting_model(tmp_path / "m.onnx"), "--drain-timeout-s", "0.5")
    with stub_of(server) as stub:
        endless = stub.ModelInfer.future(counting_request(2**40))
        wait_for(lambda: _is_busy(stub), "the endless run")
        queued = stub.ModelInfer.future(counting_request(1))
        assert stub.ModelReady(pb.ModelReadyRequest(name="m")).ready
        assert server.stop() == 0
        for call in (endless, queued):
            assert call.exception().code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert "still busy when the drain time was over" in server.log_tail()


def stubborn_request(boxes: int) -> Any:
    """A request that takes about (boxes / 30,000)^2 seconds."""
    corner = np.arange(boxes, dtype=np.float32)
    sides = np.stack([corner, np.zeros_like(corner), corner + 0.5, np.ones_like(corner)], axis=1)
    request = pb.ModelInferRequest(
        model_name="m", raw_input_contents=[sides.tobytes(), np.ones(boxes, np.float32).tobytes()]
    )
    request.inputs.add(name="boxes", datatype="FP32", shape=[1, boxes, 4])
    request.inputs.add(name="scores", datatype="FP32", shape=[1, 1, boxes])
    return request


def test_a_run_that_cannot_be_ended_holds_up_no_end(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_stubborn_model(tmp_path / "m.onnx"), "--drain-timeout-s", "0.5")
    with stub_of(server) as stub:
        endless = stub.ModelInfer.future(stubborn_request(1_000_000))
        wait_for(lambda: _is_busy(stub, stubborn_request(1)), "the endless run")
        assert server.stop() == 0
        assert endless.exception().code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert "stopped" in server.log_tail()


def test_abandoned_requests_do_not_pile_up(start_server: StartServer, tmp_path: Path) -> None:
    """Behind a run that cannot be ended wait requests of 20 MB that nobody waits for any more."""
    server = start_server(write_stubborn_model(tmp_path / "m.onnx"), "--drain-timeout-s", "0")
    with stub_of(server) as stub:
        endless = stub.ModelInfer.future(stubborn_request(1_000_000))
        wait_for(lambda: _is_busy(stub, stubborn_request(1)), "the endless run")
        before, large = psutil.Process(server.pid).memory_info().rss, stubborn_request(1_000_000)
        for _ in range(30):
            error = stub.ModelInfer.future(large, timeout=0.2).exception(timeout=30)
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # `before` may be without the endless one, of which the server has a few copies.
        assert psutil.Process(server.pid).memory_info().rss < before + 15 * large.ByteSize()
        endless.cancel()


def _is_busy(stub: Any, request: Any = None) -> bool:
    error = stub.ModelInfer.future(request or counting_request(1), timeout=0.3).exception(timeout=30)
    return error is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_more_than_the_limit_is_refused_at_once(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_counting_model(tmp_path / "m.onnx"), "--max-concurrent-requests", "2")
    with stub_of(server) as stub:
        # Endless, so that none of the first has ended before the last comes.
        calls = [stub.ModelInfer.future(counting_request(2**40)) for _ in range(6)]
        wait_for(lambda: sum(call.done() for call in calls) == 4, "four refusals")
        errors = [call.exception() for call in calls if call.done()]
        assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert "2 requests are running or waiting" in errors[0].details()
        for call in calls:
            call.cancel()
        wait_for(lambda: _is_answered(stub), "room")


def _is_answered(stub: Any) -> bool:
    """False where it is refused, since there are too many."""
    error = stub.ModelInfer.future(counting_request(1), timeout=30).exception()
    assert error is None or error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return error is None


async def test_a_long_run_holds_up_nobody_but_the_queue(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_counting_model(tmp_path / "m.onnx"))
    async with grpc.aio.insecure_channel(server.facts["address"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        long_run = stub.ModelInfer(counting_request(2**40))
        for _ in range(50):
            assert (await stub.ModelReady(pb.ModelReadyRequest(name="m"), timeout=30)).ready
        assert not long_run.done()
        given_up = stub.ModelInfer(counting_request(2**40), timeout=0.05)  # its turn never comes
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await given_up
        long_run.cancel()
        assert (await stub.ModelInfer(counting_request(3), timeout=30)).model_name == "m"


def test_it_outlives_its_starter(tmp_path: Path) -> None:
    """The starter dies with all its pipes; the server answers on, and still logs and drains."""
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    starter = (
        "import subprocess, sys, os;"
        "p = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, start_new_session=True, pass_fds=[3]);"
        "print(p.pid, flush=True); sys.stdin.read(1); os._exit(1)"
    )
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "nodeagent.modelserver", "--model", "m", "--version", "3", "--file", str(file)]
    parent = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3>&{write_end}', "sh", sys.executable, "-c", starter, *command, "--ready-fd", "3"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[write_end],
    )  # fmt: skip
    os.close(write_end)
    assert parent.stdout and parent.stdin
    server = psutil.Process(int(parent.stdout.readline()))
    try:
        with os.fdopen(read_end) as pipe:
            port = json.loads(pipe.readline())["port"]
        parent.kill()
        parent.wait()
        server.send_signal(signal.SIGHUP)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            assert stub.ModelInfer(scale_request([1, 2, 3, 4]), timeout=30).model_name == "m"
        server.terminate()
        server.wait(30)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            server.kill()
        parent.stdin.close()
        parent.stdout.close()


def test_a_file_that_is_no_model_ends_it_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"not a model")
    ended = run_to_the_end("--file", str(file))
    assert ended.returncode == 3
    assert "cannot serve m@3: onnxruntime cannot load it: " in ended.stderr.splitlines()[-1]


def test_a_port_that_is_taken_ends_it_with_a_sentence(tmp_path: Path) -> None:
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_to_the_end("--file", str(file), "--port", str(port))
    assert ended.returncode == 4
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr.splitlines()[-1]


def test_a_model_that_refuses_zeros_is_served(start_server: StartServer, tmp_path: Path) -> None:
    six = helper.make_tensor("six", TensorProto.FLOAT, [6], [1.0] * 6)
    nodes = [helper.make_node("Reshape", ["six", "shape"], ["y"], allowzero=1)]
    file = write_model(
        tmp_path / "m.onnx", nodes, [tensor("shape", "INT64", ["r"])], [tensor("y", "FP32", None)], [six]
    )
    server = start_server(file)
    assert "the first inference, of zeros, failed" in server.log_tail()
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="shape", datatype="INT64", shape=[2]).contents.int64_contents.extend([2, 3])
    with stub_of(server) as stub:
        assert list(stub.ModelInfer(request, timeout=30).outputs[0].shape) == [2, 3]


def test_a_lost_gpu_ends_the_process_with_a_code_and_a_sentence(tmp_path: Path) -> None:
    """The failure is made up, on a CPU; what comes of it is real."""
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    code = (
        "from nodeagent.modelserver import main, onnx_errors, onnx_session\n"
        "def fail(*_):\n"
        "    raise onnx_errors.domain_error(RuntimeError('CUDA failure 719: unspecified launch failure ; GPU=0 ; x'))\n"
        "onnx_session.OnnxSession.run = fail\n"
        "main.main()\n"
    )
    read_end, write_end = os.pipe()
    command = [sys.executable, "-c", code, "--model", "m", "--version", "3", "--file", str(file)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--ready-fd", str(write_end)], stderr=log, pass_fds=[write_end])
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            address = json.loads(pipe.readline())["address"]
        with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(scale_request([1, 2, 3, 4]), timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "its GPU failed (CUDA error 719: unspecified launch failure)" in str(caught.value.details())
        assert process.wait(30) == 5
    finally:
        process.kill()
        process.wait()
    assert "its GPU failed (CUDA error 719" in (tmp_path / "log").read_text().splitlines()[-1]
