"""Calls to the controller, with its errors as Python exceptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc

_TIMEOUT_S = 30.0


class Controller:
    """The controller's three services: `controller.registry.GetModel(request)` raises modelyard.errors.

    `timeout_s` is a keyword of every call: the deadline in seconds, 30 where it is not given. A call that answers with
    a stream gives a generator, and ends on the controller's side when that is closed.
    """

    def __init__(self, address: str) -> None:
        import grpc

        from modelyard._calls import CHANNEL_OPTIONS
        from modelyard.addresses import check_address
        from modelyard.v1 import deployments_pb2_grpc, registry_pb2_grpc

        self._channel = grpc.insecure_channel(check_address(address), CHANNEL_OPTIONS)
        self.registry = _Service(registry_pb2_grpc.RegistryServiceStub(self._channel), address)
        self.deployments = _Service(deployments_pb2_grpc.DeploymentServiceStub(self._channel), address)
        self.cluster = _Service(deployments_pb2_grpc.ClusterServiceStub(self._channel), address)

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *exception: object) -> None:
        self._channel.close()


class _Service:
    def __init__(self, stub: Any, address: str) -> None:
        self._stub = stub
        self._address = address

    def __getattr__(self, name: str) -> Callable[..., Any]:
        import grpc

        method = getattr(self._stub, name)

        def call(request: Any, timeout_s: float | None = _TIMEOUT_S) -> Any:
            try:
                answer = method(request, timeout=timeout_s)
            except grpc.RpcError as error:
                raise _to_yard_error(error, self._address) from error
            return self._iterate(answer) if hasattr(answer, "__next__") else answer

        return call

    def _iterate(self, answers: Any) -> Iterator[Any]:
        import grpc

        try:
            yield from answers
        except grpc.RpcError as error:
            raise _to_yard_error(error, self._address) from error
        finally:
            answers.cancel()


def _to_yard_error(error: grpc.RpcError, address: str) -> Exception:
    from modelyard._calls import UnreachableError, to_yard_error
    from modelyard.errors import UnimplementedError

    known = to_yard_error(error, address)
    if isinstance(known, UnimplementedError) and "method not found" in known.message.lower():
        return UnimplementedError(
            f"the controller at {address} is of an earlier release, which cannot do this: install this release there"
        )
    if isinstance(known, UnreachableError):
        return UnreachableError(
            f"no controller answers at {address}: start a yard with `modelyard up`, "
            "or say where one runs with --controller HOST:PORT or MODELYARD_CONTROLLER"
        )
    return known


def check_model_exists(yard: Controller, model: str) -> None:
    """Raises NotFoundError that names the models which are near: a list of what belongs to no model is merely empty."""
    from modelyard.resource_names import model_name
    from modelyard.v1 import registry_pb2

    yard.registry.GetModel(registry_pb2.GetModelRequest(name=model_name(model)))


def get_version(yard: Controller, model: str, number: int) -> Any:
    """Raises NotFoundError that tells which there are."""
    from modelyard.resource_names import version_name
    from modelyard.v1 import registry_pb2

    return yard.registry.GetVersion(registry_pb2.GetVersionRequest(name=version_name(model, number))).version


def list_all(call: Callable[[str], tuple[list[Any], str]]) -> Iterator[Any]:
    """Every item of a paged list: `call(page_token)` gives a page and the token of the next."""
    token = ""
    while True:
        items, token = call(token)
        yield from items
        if not token:
            return
