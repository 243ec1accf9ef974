"""The registration of a model file, from its announcement to its model-id. All or nothing."""

import asyncio
from collections.abc import AsyncIterable, Callable

from controlplane.clock import Clock
from controlplane.domain import ModelFormat, Signature, Version, VersionDraft
from controlplane.registry.announcement import Announcement, check_announcement
from controlplane.registry.artifacts import ArtifactStore
from controlplane.registry.inspection import ModelInspector
from controlplane.registry.store import RegistryStore
from controlplane.registry.uninterrupted import run_to_end
from controlplane.registry.upload import Upload
from modelyard.errors import InvalidArgumentError


class Registrar:
    """`on_registered` is called after each registration, in the event loop."""

    def __init__(
        self,
        store: RegistryStore,
        artifacts: ArtifactStore,
        inspector: ModelInspector,
        *,
        max_model_bytes: int,
        now: Clock,
        on_registered: Callable[[], None],
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._inspector = inspector
        self._max_model_bytes = max_model_bytes
        self._now = now
        self._on_registered = on_registered

    async def register(self, announced: Announcement, chunks: AsyncIterable[bytes]) -> Version:
        """The new version. A YardError, or a cancellation while the file arrives, leaves nothing behind."""
        check_announcement(announced, self._max_model_bytes)
        async with await self._artifacts.begin_upload(announced.size_bytes) as upload:
            await _receive(upload, chunks, announced)
            signature = await self._inspector.inspect(upload.path)
            # From here on it is kept whatever becomes of the caller: a file without its row would be half of it.
            return await run_to_end(self._keep(upload, announced, signature))

    async def _keep(self, upload: Upload, announced: Announcement, signature: Signature) -> Version:
        uri = await self._artifacts.keep(upload)
        draft = VersionDraft(
            model=announced.model,
            format=ModelFormat.ONNX,
            uri=uri,
            sha256=announced.sha256,
            size_bytes=announced.size_bytes,
            signature=signature,
            description=announced.description,
            user=announced.user,
            metrics=announced.metrics,
            parameters=announced.parameters,
            tags=announced.tags,
        )
        version = await asyncio.to_thread(self._store.create_version, draft, self._now())
        self._on_registered()
        return version


async def _receive(upload: Upload, chunks: AsyncIterable[bytes], announced: Announcement) -> None:
    async for chunk in chunks:
        if upload.size_bytes + len(chunk) > announced.size_bytes:
            raise InvalidArgumentError(
                f"more than the announced {announced.size_bytes} bytes arrived; was the file changed meanwhile? "
                "Register it again"
            )
        await upload.write(chunk)
    await upload.finish(announced.size_bytes, announced.sha256)
