"""Requests reach the replicas that they name."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
import tritonclient.grpc
import tritonclient.grpc.aio
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

_TABLE = {
    "resnet": "resnet/production@3",
    "resnet@3": "resnet/production@3",
    "resnet@production": "resnet/production@3",
    "resnet@staging": "resnet/staging@4",
}


def _infer(name: str, version: str = "", **fields: Any) -> service_pb2.ModelInferRequest:
    return service_pb2.ModelInferRequest(model_name=name, model_version=version, **fields)


async def _stream(*requests: service_pb2.ModelInferRequest) -> AsyncIterator[service_pb2.ModelInferRequest]:
    for request in requests:
        yield request


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def served(shared: Any, shared_backends: Any) -> str:
    """The address of a router with version 3 in production, 4 in staging, and a model that is not ready."""
    three, four = await shared_backends("three", "four")
    await shared.apply(
        pools={"resnet/production@3": [three], "resnet/staging@4": [four]},
        routes=_TABLE,
        not_ready={"bert": "model bert: 1 replica is loading"},
    )
    return str(shared.router.address)


@pytest.fixture
def stub(shared: Any) -> Any:
    return shared.stub


async def test_a_request_reaches_what_it_names(served: str, stub: Any) -> None:
    cases = [
        (_infer("resnet"), "three", ""),
        (_infer("resnet", "3"), "three", "3"),
        (_infer("resnet", "production"), "three", ""),
        (_infer("resnet", "staging"), "four", ""),
        (_infer("resnet@staging"), "four", ""),
        (_infer("resnet@3"), "three", "3"),
    ]
    for request, answered_by, number in cases:
        answer = await stub.ModelInfer(request)
        # The replica reads what any model server knows.
        assert (answer.id, answer.model_name, answer.model_version) == (answered_by, "resnet", number)
        streamed = [response async for response in stub.ModelStreamInfer(_stream(request, request))]
        assert [response.infer_response.id for response in streamed] == [answered_by] * 2


async def test_the_header_decides_where_it_is_given(served: str, stub: Any) -> None:
    metadata = (("x-model", "resnet@staging"),)
    assert (await stub.ModelInfer(_infer("resnet"), metadata=metadata)).id == "four"
    answers = [answer async for answer in stub.ModelStreamInfer(_stream(_infer("resnet")), metadata=metadata)]
    assert [answer.infer_response.id for answer in answers] == ["four"]


async def test_every_method_about_a_model_is_routed(served: str, stub: Any) -> None:
    assert (await stub.ModelReady(service_pb2.ModelReadyRequest(name="resnet"))).ready
    metadata = await stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="resnet", version="staging"))
    assert metadata.platform == "four"
    config = await stub.ModelConfig(service_pb2.ModelConfigRequest(name="resnet"))
    assert config.config.name == "resnet"
    statistics = await stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name="resnet", version="3"))
    assert statistics.model_stats[0].version == "3"


async def test_a_stream_is_answered_while_it_goes_on(served: str, stub: Any) -> None:
    call = stub.ModelStreamInfer()
    for _ in range(3):
        await call.write(_infer("resnet"))
        assert (await call.read()).infer_response.id == "three"
    await call.done_writing()
    assert await call.read() is aio.EOF


async def test_large_messages_pass(served: str, stub: Any) -> None:
    request = _infer("resnet", "staging", raw_input_contents=[bytes(20 << 20)])
    handed_on = _infer("resnet", raw_input_contents=request.raw_input_contents)
    assert int((await stub.ModelInfer(request)).raw_output_contents[0]) == handed_on.ByteSize()
    (answer,) = [answer async for answer in stub.ModelStreamInfer(_stream(request))]
    assert int(answer.infer_response.raw_output_contents[0]) == request.ByteSize()


async def test_compressed_messages_need_the_header(served: str, stub: Any) -> None:
    request = _infer("resnet", id="x" * 1000)
    with pytest.raises(aio.AioRpcError, match=r"compressed.*x-model") as refused:
        await stub.ModelInfer(request, compression=grpc.Compression.Gzip)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    def stream() -> None:
        """By gRPC's blocking client: a write of the other one that meets the end of its call hides the status."""
        with grpc.insecure_channel(served) as channel:
            blocking: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            list(blocking.ModelStreamInfer(iter([request]), compression=grpc.Compression.Gzip))

    with pytest.raises(grpc.RpcError, match=r"compressed.*x-model"):
        await asyncio.to_thread(stream)
    answer = await stub.ModelInfer(request, compression=grpc.Compression.Gzip, metadata=(("x-model", "resnet"),))
    assert answer.id == "three"


async def test_an_unmodified_triton_client(served: str) -> None:
    async with tritonclient.grpc.aio.InferenceServerClient(served) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert (await client.get_server_metadata()).name == "modelyard"
        assert await client.is_model_ready("resnet", "staging")
        assert not await client.is_model_ready("bert")
        index = await client.get_model_repository_index()
        assert [(row.name, row.version, row.state) for row in index.models] == [
            ("bert", "", "UNAVAILABLE"),
            ("resnet", "3", "READY"),
            ("resnet", "4", "READY"),
        ]
        assert (await client.infer("resnet", [_tensor()])).get_response().id == "three"


async def test_an_unmodified_blocking_triton_client(served: str) -> None:
    def use() -> str:
        with tritonclient.grpc.InferenceServerClient(served) as client:
            assert client.is_model_ready("resnet")
            assert client.get_model_metadata("resnet", "3").platform == "three"
            return str(client.infer("resnet", [_tensor()], model_version="staging").get_response().id)

    assert await asyncio.to_thread(use) == "four"


def _tensor() -> tritonclient.grpc.InferInput:
    tensor = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 4), np.float32))
    return tensor
