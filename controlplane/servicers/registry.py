"""RegistryService: messages to and from the registry, nothing more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from controlplane.clock import Clock
from controlplane.domain import Alias
from controlplane.registry.announcement import check_reason, check_user
from controlplane.registry.artifacts import ArtifactStore
from controlplane.registry.registrar import Registrar
from controlplane.registry.store import RegistryStore
from controlplane.servicers.converters import (
    alias_to_proto,
    announcement_from_proto,
    model_to_proto,
    version_to_proto,
)
from controlplane.sessions.stream import read_first
from modelyard.errors import InvalidArgumentError
from modelyard.resource_names import parse_alias_name, parse_model_name, parse_version_name
from modelyard.v1 import registry_pb2 as pb
from modelyard.v1 import registry_pb2_grpc

_PAGE_SIZE = 100
_LARGEST_PAGE = 1000
_LARGEST_CHUNK_BYTES = 8 << 20


class RegistryServicer(registry_pb2_grpc.RegistryServiceServicer):
    """`on_change` is called after each change of an alias, in the event loop."""

    def __init__(
        self,
        store: RegistryStore,
        artifacts: ArtifactStore,
        registrar: Registrar,
        *,
        now: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._registrar = registrar
        self._now = now
        self._on_change = on_change

    async def CreateVersion(
        self, request_iterator: AsyncIterator[pb.CreateVersionRequest], context: Any
    ) -> pb.CreateVersionResponse:
        first = await read_first(request_iterator, "header")
        if first is None or first.WhichOneof("payload") != "header":
            raise InvalidArgumentError(
                "the first message must carry the header: the model's name, the file's size and sha256"
            )
        version = await self._registrar.register(announcement_from_proto(first.header), _chunks(request_iterator))
        return pb.CreateVersionResponse(version=version_to_proto(version))

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        model = await asyncio.to_thread(self._store.get_model, parse_model_name(request.name))
        return pb.GetModelResponse(model=model_to_proto(model))

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        size = _page_size(request.page_size)
        page = await asyncio.to_thread(self._store.list_models, size, request.page_token)
        return pb.ListModelsResponse(models=map(model_to_proto, page.items), next_page_token=page.next_token)

    async def GetVersion(self, request: pb.GetVersionRequest, context: Any) -> pb.GetVersionResponse:
        version = await asyncio.to_thread(self._store.get_version, *parse_version_name(request.name))
        return pb.GetVersionResponse(version=version_to_proto(version))

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Any) -> pb.ListVersionsResponse:
        model, size = parse_model_name(request.parent), _page_size(request.page_size)
        page = await asyncio.to_thread(self._store.list_versions, model, size, request.page_token)
        return pb.ListVersionsResponse(versions=map(version_to_proto, page.items), next_page_token=page.next_token)

    async def SetAlias(self, request: pb.SetAliasRequest, context: Any) -> pb.SetAliasResponse:
        model, name = parse_alias_name(request.name)
        check_user(request.user)
        check_reason(request.reason)
        if request.version < 1:
            raise InvalidArgumentError(
                f"version {request.version} cannot be: say which of the model's versions, 1 or more"
            )
        wanted = Alias(model, name, request.version, self._now(), request.user, request.reason)
        alias = await asyncio.to_thread(self._store.set_alias, wanted)
        self._on_change()
        return pb.SetAliasResponse(alias=alias_to_proto(alias))

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Any) -> pb.DeleteAliasResponse:
        model, name = parse_alias_name(request.name)
        check_user(request.user)
        check_reason(request.reason)
        await asyncio.to_thread(self._store.delete_alias, model, name, request.user, request.reason, self._now())
        self._on_change()
        return pb.DeleteAliasResponse()

    async def ReadArtifact(
        self, request: pb.ReadArtifactRequest, context: Any
    ) -> AsyncIterator[pb.ReadArtifactResponse]:
        async with aclosing(self._artifacts.read(request.sha256, request.offset_bytes)) as chunks:
            async for chunk in chunks:
                yield pb.ReadArtifactResponse(chunk=chunk)


async def _chunks(requests: AsyncIterator[pb.CreateVersionRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("payload") != "chunk":
            raise InvalidArgumentError("each message after the first must carry a chunk of the file")
        if len(request.chunk) > _LARGEST_CHUNK_BYTES:
            raise InvalidArgumentError(
                f"a chunk of {len(request.chunk)} bytes is too large: send {_LARGEST_CHUNK_BYTES} at most"
            )
        yield request.chunk


def _page_size(wanted: int) -> int:
    if wanted < 0:
        raise InvalidArgumentError(f"page_size is {wanted}; wanted 1 to {_LARGEST_PAGE}, or 0 for {_PAGE_SIZE}")
    return min(wanted, _LARGEST_PAGE) or _PAGE_SIZE
