"""Which answers of a server count as alive."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from nodeagent.canary import CanaryError, Prober
from nodeagent.replica_spec import ReplicaSpec, TensorSpec

TOKEN = "token"
SPEC = ReplicaSpec("r1", "scale", 1, "MODEL_FORMAT_ONNX", "ab" * 32, 10, (TensorSpec("x", "FP32", (-1, 4)),), (), 1, 0)


class Server(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers every inference, or with `failure`; counts its answers as the model server does: without the canaries."""

    def __init__(self) -> None:
        self.failure: grpc.StatusCode | None = None
        self.words = "because the test says so"
        self.ready = True
        self.inferences = 0
        self.answers = 0
        self.port = 0
        # Of each call, by method: what was left of its time when it came.
        self.left_s: dict[str, float] = {}
        self.refusal_takes_s = 0.0
        self.readiness_hangs = False
        self.counts_errors = False
        self.datatype = "FP16"
        self.asked: Any = None

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        self.inferences += 1
        self.asked = request
        self.left_s["ModelInfer"] = context.time_remaining()
        await asyncio.sleep(self.refusal_takes_s)
        if self.failure:
            self.answers += self.counts_errors
            await context.abort(self.failure, self.words)
        self.answers += request.id != TOKEN
        return service_pb2.ModelInferResponse()

    async def ModelReady(self, request: Any, context: Any) -> Any:
        self.left_s["ModelReady"] = context.time_remaining()
        if self.readiness_hangs:
            await asyncio.Event().wait()
        return service_pb2.ModelReadyResponse(ready=self.ready)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        response = service_pb2.ModelMetadataResponse(name=request.name)
        response.inputs.add(name="image", datatype=self.datatype, shape=[-1, 3])
        return response

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        response = service_pb2.ModelStatisticsResponse()
        response.model_stats.add().inference_stats.success.count = self.answers
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    servicer, running = Server(), aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, running)
    servicer.port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    yield servicer
    await running.stop(None)


@pytest.fixture
async def prober(server: Server) -> AsyncIterator[Prober]:
    prober = Prober(SPEC, "127.0.0.1", server.port, 1 << 20, TOKEN)
    yield prober
    await prober.close()


async def test_an_idle_server_is_asked_for_an_inference_each_time(server: Server, prober: Prober) -> None:
    for _ in range(4):
        assert 0 < await prober.probe(10.0) < 10.0
    assert server.inferences == 4


async def test_a_server_that_answers_others_is_left_alone(server: Server, prober: Prober) -> None:
    await prober.probe(10.0)
    await prober.probe(10.0)
    before = server.inferences
    for _ in range(3):
        server.answers += 5
        await prober.probe(10.0)
    assert server.inferences == before
    await prober.probe(10.0)
    assert server.inferences == before + 1


async def test_a_server_of_others_counts_the_canaries_too(server: Server) -> None:
    prober = Prober(SPEC, "127.0.0.1", server.port, 1 << 20, "")
    for _ in range(4):
        await prober.probe(10.0)
    assert server.inferences == server.answers == 4
    for _ in range(3):
        server.answers += 5
        await prober.probe(10.0)
    assert server.inferences == 4
    await prober.close()


async def test_errors_that_are_counted_as_answers_do_not_hide_a_model_that_fails(server: Server) -> None:
    prober = Prober(SPEC, "127.0.0.1", server.port, 1 << 20, "")
    await prober.probe(10.0)
    server.failure, server.counts_errors = grpc.StatusCode.INTERNAL, True
    failed = []
    for _ in range(9):
        server.answers += 5  # other clients', errors all of them
        try:
            await prober.probe(10.0)
            failed.append(False)
        except CanaryError:
            failed.append(True)
    assert failed[-4:] == [True] * 4
    server.failure = None
    await prober.probe(10.0)
    await prober.close()


async def test_a_canary_that_is_late_among_others_does_not_take_them_their_word(server: Server) -> None:
    prober = Prober(SPEC, "127.0.0.1", server.port, 1 << 20, "")
    await prober.probe(10.0)
    server.failure = grpc.StatusCode.DEADLINE_EXCEEDED  # told by the server: the rest must not be late as well
    failed = []
    for _ in range(8):
        server.answers += 5
        try:
            await prober.probe(10.0)
            failed.append(False)
        except CanaryError:
            failed.append(True)
    assert sum(failed) <= 2
    await prober.close()


async def test_a_full_queue_of_triton_is_no_failure(server: Server) -> None:
    prober = Prober(SPEC, "127.0.0.1", server.port, 1 << 20, "")
    await prober.probe(10.0)
    server.failure, server.words = grpc.StatusCode.UNAVAILABLE, "[request id: 1] Exceeds maximum queue size"
    await prober.probe(10.0)
    await prober.close()


async def test_inputs_that_nobody_has_registered_are_asked_of_the_server(server: Server) -> None:
    prober = Prober(replace(SPEC, inputs=()), "127.0.0.1", server.port, 1 << 20, "")
    await prober.probe(10.0)
    (tensor,) = server.asked.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("image", "FP16", [1, 3])
    assert list(server.asked.raw_input_contents) == [bytes(6)]
    await prober.close()


async def test_inputs_of_a_kind_that_the_protocol_lacks_are_left_alone(server: Server) -> None:
    server.datatype = "FP8"
    prober = Prober(replace(SPEC, inputs=()), "127.0.0.1", server.port, 1 << 20, "")
    await prober.probe(10.0)
    server.ready = False
    with pytest.raises(CanaryError, match="not ready"):
        await prober.probe(10.0)
    assert server.inferences == 0
    await prober.close()


async def test_a_canary_that_is_counted_late_is_not_taken_for_another_request(server: Server) -> None:
    prober = Prober(SPEC, "127.0.0.1", server.port, 1 << 20, "")
    for _ in range(3):
        await prober.probe(10.0)
    server.answers -= 1  # the last one is not counted yet
    await prober.probe(10.0)
    server.answers += 1
    await prober.probe(10.0)
    assert server.inferences == 5
    await prober.close()


async def test_a_server_whose_model_has_lost_its_process_is_not_taken_for_one_that_refuses_zeros(
    server: Server, prober: Prober
) -> None:
    server.failure, server.words = grpc.StatusCode.INTERNAL, "Stub process 'scale_0_0' is not healthy."
    with pytest.raises(CanaryError, match="Stub process 'scale_0_0' is not healthy"):
        await prober.probe(10.0)


async def test_a_busy_server_is_alive(server: Server, prober: Prober) -> None:
    server.failure = grpc.StatusCode.RESOURCE_EXHAUSTED
    await prober.probe(10.0)


@pytest.mark.parametrize("refusal", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL])
async def test_a_model_that_refuses_zeros_is_asked_for_readiness_and_that_is_told_once(
    server: Server, prober: Prober, refusal: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    server.failure = refusal
    with caplog.at_level(logging.WARNING):
        await prober.probe(10.0)
        await prober.probe(10.0)
    assert [record.getMessage() for record in caplog.records] == [
        "r1: scale@1 refuses an inference of zeros, so its probes ask for readiness only: because the test says so"
    ]
    server.ready = False
    with pytest.raises(CanaryError, match=r"not ready.*because the test says so"):
        await prober.probe(10.0)


async def test_a_model_that_answered_before_may_not_begin_to_fail(server: Server, prober: Prober) -> None:
    await prober.probe(10.0)
    server.failure = grpc.StatusCode.INTERNAL
    with pytest.raises(CanaryError, match="canary inference: INTERNAL: because the test says so"):
        await prober.probe(10.0)


async def test_a_server_that_is_not_there_fails_the_probe(server: Server) -> None:
    prober = Prober(SPEC, "127.0.0.1", 1, 1 << 20, TOKEN)
    with pytest.raises(CanaryError, match="UNAVAILABLE"):
        await prober.probe(10.0)
    await prober.close()


async def test_a_whole_probe_keeps_to_its_time(server: Server, prober: Prober) -> None:
    server.failure, server.refusal_takes_s, server.readiness_hangs = grpc.StatusCode.INTERNAL, 0.5, True
    with pytest.raises(CanaryError, match="readiness: DEADLINE_EXCEEDED"):
        await prober.probe(7.0)  # long enough that the first call is not late on a busy machine
    assert server.left_s["ModelReady"] <= server.left_s["ModelInfer"] - 0.4
