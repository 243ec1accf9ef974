"""ModelStreamInfer: several requests under way, answers in order, and an end that ends everything."""

import queue
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.harness.onnx_models import write_counting_model, write_sum_model
from tests.harness.programs import Program, wait_for
from tests.integration.modelserver.conftest import StartServer


@contextmanager
def stub_of(server: Program) -> Iterator[Any]:
    with grpc.insecure_channel(server.facts["address"]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def counting(times: int, request_id: str = "") -> Any:
    """A request that takes about a microsecond for each of `times`."""
    request = pb.ModelInferRequest(model_name="m", id=request_id)
    request.inputs.add(name="n", datatype="INT64", shape=[1]).contents.int64_contents.append(times)
    return request


def adding(a: float, b: float) -> Any:
    request = pb.ModelInferRequest(model_name="m")
    for name, value in (("a", a), ("b", b)):
        request.inputs.add(name=name, datatype="FP32", shape=[1])
        request.raw_input_contents.append(np.array([value], np.float32).tobytes())
    request.outputs.add(name="sum")
    return request


def statistics(stub: Any) -> Any:
    [stats] = stub.ModelStatistics(pb.ModelStatisticsRequest(), timeout=30).model_stats
    return stats


def test_answers_come_in_order_whatever_each_takes(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_counting_model(tmp_path / "m.onnx"))
    times = np.random.default_rng(0).integers(0, 20_000, 60).tolist()
    with stub_of(server) as stub:
        requests = iter([counting(count, str(index)) for index, count in enumerate(times)])
        answers = [reply.infer_response for reply in stub.ModelStreamInfer(requests, timeout=100)]
    assert [answer.id for answer in answers] == [str(index) for index in range(60)]
    assert [np.frombuffer(answer.raw_output_contents[0], np.float32)[0] for answer in answers] == times


def test_a_state_that_is_fed_back_goes_from_answer_to_request(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_sum_model(tmp_path / "m.onnx"))
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    state, wanted = 0.0, 0.0
    with stub_of(server) as stub:
        answers = stub.ModelStreamInfer(iter(requests.get, None), timeout=100)
        for step in range(50):
            requests.put(adding(state, step))
            state = float(np.frombuffer(next(answers).infer_response.raw_output_contents[0], np.float32)[0])
            wanted += step
            assert state == wanted
        requests.put(None)
        assert list(answers) == []


@pytest.mark.parametrize("limit", ["2", "128"])
def test_a_stream_that_sends_all_at_once_is_never_refused(
    limit: str, start_server: StartServer, tmp_path: Path
) -> None:
    """However many it sends, no more are under way than there is room for."""
    server = start_server(write_sum_model(tmp_path / "m.onnx"), "--max-concurrent-requests", limit)
    with stub_of(server) as stub:
        replies = list(stub.ModelStreamInfer(iter([adding(index, 1) for index in range(300)]), timeout=100))
    assert not [reply.error_message for reply in replies if reply.error_message]
    sums = [np.frombuffer(reply.infer_response.raw_output_contents[0], np.float32)[0] for reply in replies]
    assert sums == [index + 1 for index in range(300)]


def test_a_stream_that_is_cancelled_ends_all_its_work(start_server: StartServer, tmp_path: Path) -> None:
    flags = ("--max-concurrent-requests", "32", "--metrics-port", "0")
    server = start_server(write_counting_model(tmp_path / "m.onnx"), *flags)
    with stub_of(server) as stub:
        stream = stub.ModelStreamInfer(iter([counting(3), *(counting(2**40) for _ in range(40))]))
        next(stream)  # from here on it has as many under way as it may
        wait_for(lambda: _in_flight(server) == 16, "as many requests as a stream may have under way")
        wait_for(lambda: _is_busy(stub), "the endless run")
        stream.cancel()
        assert stub.ModelInfer(counting(3), timeout=60).model_name == "m"
        wait_for(lambda: statistics(stub).inference_stats.fail.count >= 15, "its requests to have ended")
        stats = statistics(stub)
        assert stats.execution_count == stats.inference_stats.success.count  # of those that asked outside the stream


def _in_flight(server: Program) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.facts['metrics_port']}/metrics", timeout=30) as answer:
        [line] = [line for line in answer.read().decode().splitlines() if line.startswith("modelyard_requests_in_fl")]
    return float(line.split()[-1])


def _is_busy(stub: Any) -> bool:
    error = stub.ModelInfer.future(counting(1), timeout=0.3).exception(timeout=30)
    return error is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
