"""RegistryService: files on their way in and out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from controlplane.domain import Version
from controlplane.registry.files.artifacts import parse_sha256
from controlplane.servicers.converters import announcement_from_proto, version_to_proto
from controlplane.servicers.registry_base import RegistryMethods
from controlplane.sessions.stream import read_first
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import registry_pb2 as pb

_LARGEST_CHUNK_BYTES = 8 << 20


class FileMethods(RegistryMethods):
    async def CreateVersion(
        self, request_iterator: AsyncIterator[pb.CreateVersionRequest], context: Any
    ) -> pb.CreateVersionResponse:
        first = await read_first(request_iterator, "header")
        if first is None or first.WhichOneof("payload") != "header":
            raise InvalidArgumentError(
                "the first message must carry the header: the model's name, the file's size and sha256"
            )
        announced = announcement_from_proto(first.header)
        version = await self._registry.registrar.register(announced, _chunks(request_iterator))
        return pb.CreateVersionResponse(version=version_to_proto(version))

    async def FindUpload(self, request: pb.FindUploadRequest, context: Any) -> pb.FindUploadResponse:
        if request.size_bytes < 1:
            raise InvalidArgumentError(f"size_bytes is {request.size_bytes}: say how large the file is, 1 or more")
        sha256 = parse_sha256(request.sha256)
        offset, is_stored = await self._registry.registrar.find_upload(request.size_bytes, sha256)
        return pb.FindUploadResponse(offset_bytes=offset, is_stored=is_stored)

    async def CreateVersionFromUri(
        self, request: pb.CreateVersionFromUriRequest, context: Any
    ) -> AsyncIterator[pb.CreateVersionFromUriResponse]:
        announced = announcement_from_proto(request.header, is_sent=False)
        # Only the newest step is of interest: a caller who reads slowly must not make the controller remember.
        newest = _Newest()
        registering = asyncio.create_task(
            self._registry.registrar.register_from_uri(announced, request.uri, newest.set), name="register from a URI"
        )
        registering.add_done_callback(lambda _: newest.end())
        try:
            async for step, done_bytes, total_bytes in newest:
                progress = pb.CreateVersionFromUriResponse.Progress(
                    step=step, done_bytes=done_bytes, total_bytes=total_bytes
                )
                yield pb.CreateVersionFromUriResponse(progress=progress)
            version: Version = await registering
        finally:
            if not registering.done():  # the caller has gone
                registering.cancel()
                await asyncio.gather(registering, return_exceptions=True)
        yield pb.CreateVersionFromUriResponse(version=version_to_proto(version))

    async def ReadArtifact(
        self, request: pb.ReadArtifactRequest, context: Any
    ) -> AsyncIterator[pb.ReadArtifactResponse]:
        async with aclosing(self._registry.artifacts.read(request.sha256, request.offset_bytes)) as chunks:
            async for chunk in chunks:
                yield pb.ReadArtifactResponse(chunk=chunk)


class _Newest:
    """The newest of (step, done_bytes, total_bytes), for one reader."""

    def __init__(self) -> None:
        self._progress: tuple[str, int, int] | None = None
        self._changed = asyncio.Event()
        self._is_over = False

    def set(self, step: str, done_bytes: int, total_bytes: int) -> None:
        self._progress = (step, done_bytes, total_bytes)
        self._changed.set()

    def end(self) -> None:
        self._is_over = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[tuple[str, int, int]]:
        while not self._is_over:
            await self._changed.wait()
            self._changed.clear()
            if (progress := self._progress) is not None:
                self._progress = None
                yield progress


async def _chunks(requests: AsyncIterator[pb.CreateVersionRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("payload") != "chunk":
            raise InvalidArgumentError("each message after the first must carry a chunk of the file")
        if len(request.chunk) > _LARGEST_CHUNK_BYTES:
            raise InvalidArgumentError(
                f"a chunk of {len(request.chunk)} bytes is too large: send {_LARGEST_CHUNK_BYTES} at most"
            )
        yield request.chunk
