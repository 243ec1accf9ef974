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
from modelyard.errors import AlreadyExistsError, DeadlineExceededError, InvalidArgumentError


class Registrar:
    """`on_registered` is called after each registration, in the event loop."""

    def __init__(
        self,
        store: RegistryStore,
        artifacts: ArtifactStore,
        inspector: ModelInspector,
        *,
        max_model_bytes: int,
        stalled_upload_s: float,
        now: Clock,
        on_registered: Callable[[], None],
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._inspector = inspector
        self._max_model_bytes = max_model_bytes
        self._stalled_upload_s = stalled_upload_s
        self._now = now
        self._on_registered = on_registered

    async def register(self, announced: Announcement, chunks: AsyncIterable[bytes]) -> Version:
        """The new version. A YardError, or a cancellation while the file arrives, leaves nothing behind.

        What the announcement alone tells is refused before the first chunk is taken. DeadlineExceededError where no
        byte comes for `stalled_upload_s` seconds.
        """
        check_announcement(announced, self._max_model_bytes)
        await self._refuse_known(announced)
        async with self._artifacts.begin_upload(announced.size_bytes) as upload:
            await self._receive(upload, chunks, announced)
            signature = await self._inspector.inspect(upload.path)
            # From here on it is kept whatever becomes of the caller: a file without its row would be half of it.
            return await run_to_end(self._keep(upload, announced, signature))

    async def _refuse_known(self, announced: Announcement) -> None:
        try:
            await asyncio.to_thread(self._store.check_new, announced.model, announced.sha256)
        except AlreadyExistsError:
            # A file that was lost meanwhile is taken, and kept: the refusal comes after it then.
            if await self._artifacts.has(announced.sha256, announced.size_bytes):
                raise

    async def _receive(self, upload: Upload, chunks: AsyncIterable[bytes], announced: Announcement) -> None:
        try:
            async with asyncio.timeout(self._stalled_upload_s) as patience:
                async for chunk in chunks:
                    # An empty chunk is no progress, and the time that the disk takes is not the sender's.
                    if chunk:
                        patience.reschedule(None)
                        await _write(upload, chunk, announced)
                        patience.reschedule(asyncio.get_running_loop().time() + self._stalled_upload_s)
        except TimeoutError:
            raise DeadlineExceededError(
                f"no byte of the file came for {self._stalled_upload_s:g} s, after {upload.size_bytes} of "
                f"{announced.size_bytes}: is its sender still there? Register it again"
            ) from None
        await upload.finish(announced.size_bytes, announced.sha256)

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


async def _write(upload: Upload, chunk: bytes, announced: Announcement) -> None:
    if upload.size_bytes + len(chunk) > announced.size_bytes:
        raise InvalidArgumentError(
            f"more than the announced {announced.size_bytes} bytes arrived; was the file changed meanwhile? "
            "Register it again"
        )
    await upload.write(chunk)
