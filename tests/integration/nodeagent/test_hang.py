"""A server that hangs leaves the routes and is replaced soon; one that has much to do is left alone."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelyard.v1 import resources_pb2
from tests.harness.models import write_scale_model
from tests.harness.onnx_models import write_counting_model
from tests.harness.programs import wait_for
from tests.integration.nodeagent.conftest import StartAgent
from tests.integration.nodeagent.stand_in import READY, UNHEALTHY, StandInController

# No probe is due while such a test runs: what it sees is the pulse alone.
NO_PROBES = ("--probe-interval-s", "600", "--pulse-interval-s", "0.4")


@pytest.fixture
def version(controller: StandInController, tmp_path: Path) -> resources_pb2.Version:
    return controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))


def test_a_stopped_server_is_taken_out_killed_and_replaced(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    start_agent(*NO_PROBES)
    controller.want(r1=version)
    first = controller.wait_seen("r1", READY)
    os.kill(first.pid, signal.SIGSTOP)
    hung = controller.wait_told("r1", UNHEALTHY)  # for some seconds only
    assert hung.message == "it hangs: it answers nothing, and its process is stopped"
    assert hung.pid == first.pid
    again = controller.wait_seen("r1", READY, restarts=1)
    assert not psutil.pid_exists(first.pid)
    assert again.pid != first.pid


@pytest.mark.slow
def test_a_server_that_was_stopped_for_a_moment_goes_on(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    # Time between the word that it hangs and its end, for the test to wake it up.
    start_agent("--probe-interval-s", "0.5", "--pulse-interval-s", "2")
    controller.want(r1=version)
    server = psutil.Process(controller.wait_seen("r1", READY).pid)
    server.suspend()
    controller.wait_seen("r1", UNHEALTHY)
    server.resume()
    back = controller.wait_seen("r1", READY)
    assert (back.pid, back.restarts, back.message) == (server.pid, 0, "")


@pytest.mark.slow
def test_an_adopted_server_that_hangs_is_replaced(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    agent = start_agent(*NO_PROBES)
    controller.want(r1=version)
    first = controller.wait_seen("r1", READY)
    agent.kill()
    os.kill(first.pid, signal.SIGSTOP)
    start_agent("--probe-timeout-s", "1", *NO_PROBES)
    assert controller.wait_seen("r1", READY, restarts=1).pid != first.pid


class Crowd:
    """Inferences of a model that takes as long as it is asked to, all at once."""

    def __init__(self, port: int, count: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        self._pool = ThreadPoolExecutor(count)

    def send(self, steps: int) -> "Future[float]":
        return self._pool.submit(self._infer, steps)

    def _infer(self, steps: int) -> float:
        request = service_pb2.ModelInferRequest(model_name="scale")
        request.inputs.add(name="n", datatype="INT64", shape=[1])
        request.raw_input_contents.append(np.array([steps], np.int64).tobytes())
        answer = self._stub.ModelInfer(request, timeout=250)
        return float(np.frombuffer(answer.raw_output_contents[0], np.float32)[0])

    def close(self) -> None:
        self.channel.close()
        self._pool.shutdown()


@pytest.fixture
def crowd(controller: StandInController, start_agent: StartAgent, tmp_path: Path) -> Iterator[Crowd]:
    version = controller.add_file(write_counting_model(tmp_path / "model.onnx"))
    version.signature.inputs[0].MergeFrom(resources_pb2.TensorSpec(name="n", datatype="INT64"))
    version.signature.inputs[0].shape[:] = [1]
    start_agent()
    controller.want(r1=version)
    crowd = Crowd(controller.wait_seen("r1", READY).port, 100)
    yield crowd
    crowd.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("count", "steps"), [(100, 40_000), (1, 4_000_000)], ids=["queue", "long"])
def test_a_busy_server_is_never_marked(controller: StandInController, crowd: Crowd, count: int, steps: int) -> None:
    seen_before = len(controller.reports)
    waiting = [crowd.send(steps) for _ in range(count)]
    assert {answer.result() for answer in waiting} == {float(steps)}
    wait_for(lambda: len(controller.reports) > seen_before, "a report")
    states = {replica.state for report in controller.reports[seen_before:] for replica in report.replicas}
    assert states == {READY}
    seen = controller.seen("r1")
    assert seen
    assert seen.restarts == 0
