"""Real servers that merge: answers stay right under load, and what happened is told in Triton's words."""

import re
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.harness.models import write_scale_model
from tests.harness.onnx_models import write_counting_model
from tests.harness.programs import Program, wait_for
from tests.harness.savedmodels import savedmodel
from tests.integration.modelserver.conftest import StartServer


def request(values: Any, *, name: str = "x") -> Any:
    array = np.asarray(values, np.float32)
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[array.tobytes()])
    message.inputs.add(name=name, datatype="FP32", shape=array.shape)
    return message


def ask_all_at_once(server: Program, callers: int, each: int) -> list[str]:
    """What went wrong. Each caller asks for rows of its own, one to three at a time, on a connection of its own."""
    wrong: list[str] = []

    def call(index: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(server.facts["address"], options=options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            for number in range(each):
                rows = np.arange(4 * (1 + number % 3), dtype=np.float32).reshape(-1, 4) + 1000 * index + number
                try:
                    answer = stub.ModelInfer(request(rows), timeout=60)
                    got = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(answer.outputs[0].shape)
                    if got.tolist() != (rows * 2).tolist():
                        wrong.append(f"{rows.tolist()} came back as {got.tolist()}")
                except grpc.RpcError as error:
                    wrong.append(str(error))

    threads = [threading.Thread(target=call, args=(index,)) for index in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def describe(server: Program) -> tuple[Any, Any]:
    """Its configuration and its statistics."""
    with grpc.insecure_channel(server.facts["address"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        config = stub.ModelConfig(pb.ModelConfigRequest(name="m"), timeout=30).config
        [stats] = stub.ModelStatistics(pb.ModelStatisticsRequest(name="m"), timeout=30).model_stats
    return config, stats


@pytest.mark.parametrize("wait_us", [0, 2000])
def test_everybody_gets_the_answer_to_what_they_asked(wait_us: int, start_server: StartServer, tmp_path: Path) -> None:
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    server = start_server(file, "--max-batch-rows", "8", "--max-batch-wait-us", str(wait_us))
    assert ask_all_at_once(server, callers=12, each=60) == []
    config, stats = describe(server)
    assert list(config.dynamic_batching.preferred_batch_size) == [8]
    assert config.dynamic_batching.max_queue_delay_microseconds == wait_us
    assert stats.inference_stats.success.count == 12 * 60 and stats.inference_stats.fail.count == 0
    assert stats.inference_count == 12 * 20 * (1 + 2 + 3)
    assert max(batch.batch_size for batch in stats.batch_stats) <= 8
    assert sum(batch.batch_size * batch.compute_infer.count for batch in stats.batch_stats) == stats.inference_count
    assert sum(batch.compute_infer.count for batch in stats.batch_stats) == stats.execution_count
    if wait_us:
        assert stats.execution_count < 12 * 60


def test_merging_by_measured_benefit_is_told(start_server: StartServer, tmp_path: Path) -> None:
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    server = start_server(file)
    held_up = re.compile(r"not merged: (one inference takes|measured .* at once: \d+/s at 1$)", re.MULTILINE)
    for _ in range(5):
        if not held_up.search(server.log_tail()):
            break
        server = start_server(file)  # one that was held up as it measured is right to merge nothing
    config, _ = describe(server)
    [rows] = config.dynamic_batching.preferred_batch_size
    assert rows > 1 and f"up to {rows} rows are merged into one inference: measured" in server.log_tail()
    assert ask_all_at_once(server, callers=4, each=20) == []


def test_a_server_that_merges_nothing_says_so(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(write_counting_model(tmp_path / "m.onnx"), "--max-batch-rows", "8")
    config, _ = describe(server)
    assert not config.HasField("dynamic_batching")
    assert "requests are not merged: the model has no batch dimension" in server.log_tail()


def test_a_savedmodel_is_merged_as_well(start_server: StartServer) -> None:
    flags = ["--input=image", "--output=output_0", "--max-batch-rows", "4", "--max-batch-wait-us", "100000"]
    server = start_server(savedmodel("cnn"), *flags)
    assert list(describe(server)[0].dynamic_batching.preferred_batch_size) == [4]
    rows = np.random.default_rng(0).random((8, 8, 8, 3), np.float32)
    with grpc.insecure_channel(server.facts["address"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        whole = stub.ModelInfer(request(rows, name="image"), timeout=30)
        wanted = np.frombuffer(whole.raw_output_contents[0], np.float32).reshape(8, -1)
        calls = [stub.ModelInfer.future(request(row[np.newaxis], name="image"), timeout=30) for row in rows]
        answers = [np.frombuffer(call.result().raw_output_contents[0], np.float32) for call in calls]
    np.testing.assert_allclose(np.stack(answers), wanted, rtol=1e-5, atol=1e-6)
    assert describe(server)[1].execution_count < 9


def test_a_request_whose_deadline_passes_in_the_queue_is_never_computed(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(write_counting_model(tmp_path / "m.onnx"))
    with grpc.insecure_channel(server.facts["address"]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def count(times: int, timeout_s: float) -> Any:
            message = pb.ModelInferRequest(model_name="m")
            message.inputs.add(name="n", datatype="INT64", shape=[1]).contents.int64_contents.append(times)
            return stub.ModelInfer.future(message, timeout=timeout_s)

        def is_late() -> bool:
            error = count(1, 0.1).exception(timeout=60)
            return error is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED

        endless = count(2**40, 600)
        wait_for(is_late, "the endless run")
        before = describe(server)[1]

        def five_failed() -> bool:
            assert is_late()
            # Where the server was held up, it never hears of one whose caller has given up already.
            return bool(describe(server)[1].inference_stats.fail.count >= before.inference_stats.fail.count + 5)

        wait_for(five_failed, "five failures", 60)
        endless.cancel()
        count(1, 60).result(timeout=60)
    assert describe(server)[1].execution_count == before.execution_count + 1
