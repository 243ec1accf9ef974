"""The gRPC service behind the cluster `local`: the server's own methods, and refusals that read no body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any, Protocol

import grpc
from grpc import aio
from tritonclient.grpc import service_pb2

from modelyard.errors import UnimplementedError
from modelyard.grpc_server import create_server
from router.local.answers import NO_TABLE, find_refusal, list_repository, parse_key
from router.table import Table
from router.xds.routes import KEY_HEADER

SERVICE = "inference.GRPCInferenceService"
_EXTENSIONS = ("model_configuration", "model_repository", "statistics")


class HasTable(Protocol):
    @property
    def table(self) -> Table | None:
        """The newest; None before there is any."""


class LocalService(grpc.GenericRpcHandler):
    def __init__(self, state: HasTable) -> None:
        self._state = state
        self._own_methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "ServerLive": _unary(self._server_live, service_pb2.ServerLiveRequest),
            "ServerReady": _unary(self._server_ready, service_pb2.ServerReadyRequest),
            "ServerMetadata": _unary(self._server_metadata, service_pb2.ServerMetadataRequest),
            "RepositoryIndex": _unary(self._repository_index, service_pb2.RepositoryIndexRequest),
            "ModelReady": _unread(self._model_ready),
        }
        self._refused_methods = {
            "ModelInfer", "ModelStreamInfer", "ModelMetadata", "ModelConfig", "ModelStatistics",
        }  # fmt: skip

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        service, _, method = handler_call_details.method.removeprefix("/").partition("/")
        if service != SERVICE:
            return None
        if method in self._own_methods:
            return self._own_methods[method]
        return _unread(self._refuse if method in self._refused_methods else _refuse_method(method))

    async def _server_live(
        self, request: service_pb2.ServerLiveRequest, context: Any
    ) -> service_pb2.ServerLiveResponse:
        return service_pb2.ServerLiveResponse(live=True)

    async def _server_ready(
        self, request: service_pb2.ServerReadyRequest, context: Any
    ) -> service_pb2.ServerReadyResponse:
        return service_pb2.ServerReadyResponse(ready=self._state.table is not None)

    async def _server_metadata(
        self, request: service_pb2.ServerMetadataRequest, context: Any
    ) -> service_pb2.ServerMetadataResponse:
        return service_pb2.ServerMetadataResponse(
            name="modelyard", version=version("modelyard"), extensions=_EXTENSIONS
        )

    async def _repository_index(
        self, request: service_pb2.RepositoryIndexRequest, context: Any
    ) -> service_pb2.RepositoryIndexResponse:
        if self._state.table is None:
            raise NO_TABLE
        return list_repository(self._state.table, only_ready=request.ready)

    async def _model_ready(self, requests: Any, context: Any) -> AsyncIterator[service_pb2.ModelReadyResponse]:
        """Of what no replica answers for: not ready, also where the name is unknown. So Triton says, and clients that
        wait for a model to appear rely on it.
        """
        table, key = self._state.table, _read_key(context)
        if table is None or not key:
            raise find_refusal(table, key)
        yield service_pb2.ModelReadyResponse(ready=False)

    async def _refuse(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        raise find_refusal(self._state.table, _read_key(context))
        yield  # what makes it a stream of responses


def create_local_server(state: HasTable, socket_path: str) -> aio.Server:
    """A server on a unix socket, with health and reflection, not started."""
    server, _ = create_server([SERVICE])
    server.add_generic_rpc_handlers((LocalService(state),))
    server.add_insecure_port(f"unix:{socket_path}")
    return server


def _read_key(context: Any) -> str:
    """What Envoy's filters or the client have set."""
    return parse_key([str(value) for name, value in context.invocation_metadata() if name == KEY_HEADER])


def _refuse_method(method: str) -> Callable[..., AsyncIterator[Any]]:
    async def refuse(requests: Any, context: Any) -> AsyncIterator[Any]:
        raise UnimplementedError(f"a yard does not offer {method}: the `modelyard` command manages what is served")
        yield

    return refuse


def _unary(behaviour: Callable[..., Any], request: type[Any]) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(behaviour, request.FromString, _serialize)


def _unread(behaviour: Callable[..., AsyncIterator[Any]]) -> grpc.RpcMethodHandler[Any, Any]:
    """A stream of requests that is never read: it is answered by its headers alone, however large the body."""
    return grpc.stream_stream_rpc_method_handler(behaviour, None, _serialize)


def _serialize(message: Any) -> bytes:
    payload: bytes = message.SerializeToString()
    return payload
