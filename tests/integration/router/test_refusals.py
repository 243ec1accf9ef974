"""What cannot be served gets a status and a sentence that helps, and breaks nothing."""

import asyncio
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

_METHODS = "/inference.GRPCInferenceService"


def _infer(name: str, version: str = "", **fields: Any) -> service_pb2.ModelInferRequest:
    return service_pb2.ModelInferRequest(model_name=name, model_version=version, **fields)


async def _refused(call: Any) -> tuple[str, str]:
    with pytest.raises(aio.AioRpcError) as refused:
        await call
    return refused.value.code().name, refused.value.details() or ""


async def _refused_stream(address: str, message: bytes) -> tuple[str, str]:
    """Sent by gRPC's blocking client: a write of the other one that meets the end of its call hides the status."""

    def send() -> None:
        with grpc.insecure_channel(address) as channel:
            stream: Any = channel.stream_stream(f"{_METHODS}/ModelStreamInfer")
            list(stream(iter([message])))

    with pytest.raises(grpc.RpcError) as refused:
        await asyncio.to_thread(send)
    error: Any = refused.value
    return error.code().name, error.details()


# Tests that leave the router as it was share one.
_in_shared_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def backend(shared: Any, shared_backends: Any) -> Any:
    """One replica behind `resnet`; `bert` is not ready; all replicas of `ghost` are gone."""
    (made,) = await shared_backends("one")
    await shared.apply(
        pools={"resnet/production@3": [made], "ghost/production@1": [("127.0.0.1", 1, 1)]},
        routes={"resnet": "resnet/production@3", "resnet@3": "resnet/production@3", "ghost": "ghost/production@1"},
        not_ready={"bert": "model bert: 1 replica is loading"},
    )
    return made


@pytest.fixture
def shared_stub(shared: Any) -> Any:
    return shared.stub


@_in_shared_loop
async def test_names_that_are_not_served(backend: Any, shared_stub: Any) -> None:
    assert await _refused(shared_stub.ModelInfer(_infer("resnt"))) == (
        "NOT_FOUND",
        "no model 'resnt' is served here; did you mean resnet, resnet@3?",
    )
    assert await _refused(shared_stub.ModelInfer(_infer("resnet", "4"))) == (
        "NOT_FOUND",
        "model 'resnet' is not served as '4'; it is served as resnet, resnet@3",
    )
    assert await _refused(shared_stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="zzz"))) == (
        "NOT_FOUND",
        "no model 'zzz' is served here; served are bert, ghost, resnet",
    )
    assert not (await shared_stub.ModelReady(service_pb2.ModelReadyRequest(name="zzz"))).ready
    status, sentence = await _refused(shared_stub.ModelInfer(_infer("")))
    assert status == "INVALID_ARGUMENT"
    assert "model_name" in sentence
    assert backend.counts.total() == 0


@_in_shared_loop
async def test_headers_that_are_no_names(backend: Any, shared_stub: Any) -> None:
    for odd in (("resne%74",), ("resnet", "bert"), ("resnet,bert",), ("resnet bert",)):
        metadata = tuple(("x-model", value) for value in odd)
        status, sentence = await _refused(shared_stub.ModelInfer(_infer("resnet"), metadata=metadata))
        assert status == "INVALID_ARGUMENT"
        assert "x-model" in sentence
    status, sentence = await _refused(shared_stub.ModelInfer(_infer("resne%74")))
    assert (status, sentence.partition(";")[0]) == ("NOT_FOUND", "no model 'resne%74' is served here")
    assert backend.counts.total() == 0


@_in_shared_loop
async def test_a_model_s_server_is_asked_for_nothing_but_its_model(backend: Any, shared_stub: Any) -> None:
    """Triton runs code that a client sends it for loading. The header alone must not lead there."""
    asked: dict[str, Any] = {
        "RepositoryModelLoad": service_pb2.RepositoryModelLoadRequest(model_name="resnet"),
        "RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest(model_name="resnet"),
        "SystemSharedMemoryRegister": service_pb2.SystemSharedMemoryRegisterRequest(name="resnet", key="/x"),
        "TraceSetting": service_pb2.TraceSettingRequest(model_name="resnet"),
        "LogSettings": service_pb2.LogSettingsRequest(),
    }
    for method, request in asked.items():
        call = getattr(shared_stub, method)(request, metadata=(("x-model", "resnet"),))
        status, sentence = await _refused(call)
        assert (status, method in sentence) == ("UNIMPLEMENTED", True)
    ready = await shared_stub.ServerReady(service_pb2.ServerReadyRequest(), metadata=(("x-model", "resnet"),))
    assert ready.ready  # the router's own answer
    assert backend.counts.total() == 0


@_in_shared_loop
async def test_a_model_that_is_not_ready(backend: Any, shared_stub: Any) -> None:
    reason = ("UNAVAILABLE", "model bert: 1 replica is loading")
    assert await _refused(shared_stub.ModelInfer(_infer("bert"))) == reason
    assert await _refused(shared_stub.ModelInfer(_infer("bert"), metadata=(("x-model", "bert"),))) == reason
    assert not (await shared_stub.ModelReady(service_pb2.ModelReadyRequest(name="bert"))).ready


@_in_shared_loop
async def test_that_a_model_is_not_ready_is_said_without_python(backend: Any, shared_stub: Any, shared: Any) -> None:
    await shared.router.kill()
    assert await _refused(shared_stub.ModelInfer(_infer("bert"))) == ("UNAVAILABLE", "model bert: 1 replica is loading")
    assert (await shared_stub.ModelInfer(_infer("resnet"))).id == "one"
    await shared.router.start()


@_in_shared_loop
async def test_replicas_that_cannot_be_reached(backend: Any, shared_stub: Any) -> None:
    status, sentence = await _refused(shared_stub.ModelInfer(_infer("ghost")))
    assert status == "UNAVAILABLE"
    assert "model ghost" in sentence


@_in_shared_loop
async def test_deadlines_are_the_clients(backend: Any, shared_stub: Any) -> None:
    backend.delay_s = 0.5
    assert (await _refused(shared_stub.ModelInfer(_infer("resnet"), timeout=0.1)))[0] == "DEADLINE_EXCEEDED"
    assert (await shared_stub.ModelInfer(_infer("resnet"), timeout=30)).id == "one"


@_in_shared_loop
async def test_what_is_not_offered(backend: Any, shared_stub: Any, shared: Any) -> None:
    load = service_pb2.RepositoryModelLoadRequest(model_name="resnet")
    status, sentence = await _refused(shared_stub.RepositoryModelLoad(load))
    assert status == "UNIMPLEMENTED"
    assert "RepositoryModelLoad" in sentence
    async with aio.insecure_channel(shared.router.address) as channel:
        unknown: Any = channel.unary_unary("/a.b/C")
        assert (await _refused(unknown(b"")))[0] == "UNIMPLEMENTED"


@_in_shared_loop
async def test_bytes_that_are_no_request(backend: Any, shared_stub: Any, shared: Any) -> None:
    async with aio.insecure_channel(shared.router.address) as channel:
        for body in (b"\xff\xff\xff", b"hello", b"\x0a\x7fshort", b"\x0f", b"\x00\x01", b"\x0b"):
            unary: Any = channel.unary_unary(f"{_METHODS}/ModelInfer")
            status, sentence = await _refused(unary(body))
            assert (status, "cannot be read" in sentence) == ("INVALID_ARGUMENT", True)
            # Envoy may have found a name in what it could read.
            status, _ = await _refused_stream(shared.router.address, body)
            assert status in ("INVALID_ARGUMENT", "NOT_FOUND")
    assert (await shared_stub.ModelInfer(_infer("resnet"))).id == "one"


async def test_no_route_before_the_first_table(running_router: Any, stub: Any) -> None:
    assert (await stub.ServerLive(service_pb2.ServerLiveRequest())).live
    assert not (await stub.ServerReady(service_pb2.ServerReadyRequest())).ready
    status, sentence = await _refused(stub.ModelInfer(_infer("resnet")))
    assert status == "UNAVAILABLE"
    assert "controller" in sentence


async def test_a_message_over_the_limit(router: Any, backends: Any, controller: Any) -> None:
    (made,) = await backends("one")
    router.arguments = ("--max-message-bytes", "1000000")
    await router.start()
    await controller.apply(1, pools={"m/production@1": [made]}, routes={"m": "m/production@1"})
    request = _infer("m", raw_input_contents=[bytes(1_200_000)])
    async with aio.insecure_channel(router.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        status, sentence = await _refused(stub.ModelInfer(request))
        assert status == "RESOURCE_EXHAUSTED"
        assert "1000000 bytes" in sentence
        status, sentence = await _refused_stream(router.address, request.SerializeToString())
        assert status == "RESOURCE_EXHAUSTED"
        assert "1000000 bytes" in sentence
        assert (await stub.ModelInfer(request, metadata=(("x-model", "m"),))).id == "one"
        assert (await stub.ModelInfer(_infer("m", raw_input_contents=[bytes(900_000)]))).id == "one"


async def test_a_port_that_is_taken(router: Any, capfd: pytest.CaptureFixture[str]) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(AssertionError):
        await router.start(listen=f"127.0.0.1:{port}")
    assert f"cannot listen on 127.0.0.1:{port}: another process listens there" in capfd.readouterr().err
    server.close()
    await server.wait_closed()
