"""A controller of an earlier release, which lacks what this command line asks for."""

import json
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from grpc import aio
from typer.testing import CliRunner, Result

from modelyard.cli.app import make_app
from modelyard.v1 import registry_pb2, registry_pb2_grpc


def run(address: str, *arguments: str) -> Result:
    return CliRunner().invoke(make_app(), list(arguments), env={"MODELYARD_CONTROLLER": address})


@contextmanager
def served(list_models: Callable[[Any, Any], Any]) -> Iterator[str]:
    """The address of a controller that can list models, and no more."""
    method = grpc.unary_unary_rpc_method_handler(
        list_models,
        request_deserializer=registry_pb2.ListModelsRequest.FromString,
        response_serializer=registry_pb2.ListModelsResponse.SerializeToString,
    )
    running = grpc.server(futures.ThreadPoolExecutor(1))
    handlers = grpc.method_handlers_generic_handler("modelyard.v1.RegistryService", {"ListModels": method})
    running.add_generic_rpc_handlers((handlers,))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield f"127.0.0.1:{port}"
    running.stop(None).wait()


@pytest.fixture
def earlier() -> Iterator[str]:
    with served(lambda request, context: registry_pb2.ListModelsResponse()) as address:
        yield address


@pytest.mark.parametrize(
    "command",
    [
        "purge --dry-run",
        "versions resnet",
        "status",
        "node drain host-1",
        "node show host-1",
        "register resnet file:///models/resnet.onnx",  # its answer is a stream
    ],
)
def test_it_is_told_that_the_controller_is_of_an_earlier_release(earlier: str, command: str) -> None:
    assert run(earlier, "models").exit_code == 0
    result = run(earlier, *command.split(), "--json")
    error = json.loads(result.stdout)["error"]
    assert result.exit_code == 1 and error["code"] == "UNIMPLEMENTED"
    assert error["message"] in result.stderr and "Traceback" not in result.stderr
    assert error["message"].startswith(f"the controller at {earlier} is of an earlier release")
    assert "install this release there" in error["message"]


async def test_the_server_of_a_yard_says_the_same_of_a_method_that_it_lacks() -> None:
    """What the command line knows an earlier release by is a sentence of gRPC's own."""
    server = aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await registry_pb2_grpc.RegistryServiceStub(channel).ListModels(registry_pb2.ListModelsRequest())
    await server.stop(None)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "method not found" in str(caught.value.details()).lower()


def test_what_this_release_does_not_offer_is_told_in_its_own_words() -> None:
    def refuse(request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "this yard keeps no models")

    with served(refuse) as address:
        result = run(address, "models")
    assert (result.exit_code, result.stderr) == (1, "modelyard: this yard keeps no models\n")
