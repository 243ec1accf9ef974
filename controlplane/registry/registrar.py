"""The registration of a model file, from its announcement to its model-id. All or nothing."""

import asyncio
import hashlib
from collections.abc import AsyncIterable, Callable
from dataclasses import replace
from pathlib import Path

from controlplane.clock import Clock
from controlplane.domain import Sample, Version, VersionDraft
from controlplane.registry.announcement import Announcement, check_announcement, check_size
from controlplane.registry.drafts import can_copy, copy_draft, gpu_of, make_draft
from controlplane.registry.files.artifacts import ArtifactStore, file_sha256
from controlplane.registry.files.blocking_calls import BlockingCalls
from controlplane.registry.files.file_locks import FileLocks
from controlplane.registry.files.receiving import Progress, read_source, receive
from controlplane.registry.files.uri_source import open_uri, without_password
from controlplane.registry.formats.inspected import Inspected
from controlplane.registry.formats.inspection import ModelInspector
from controlplane.registry.store import RegistryStore
from modelyard.errors import InvalidArgumentError
from modelyard.uninterrupted import run_to_end


class Registrar:
    """`on_registered` is called after each registration, in the event loop.

    `uri_prefixes`: what a URI that is registered from must begin with; none: any is read.
    """

    def __init__(
        self,
        store: RegistryStore,
        artifacts: ArtifactStore,
        inspector: ModelInspector,
        locks: FileLocks,
        *,
        max_model_bytes: int,
        stalled_upload_s: float,
        now: Clock,
        on_registered: Callable[[], None],
        uri_prefixes: tuple[str, ...] = (),
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._inspector = inspector
        self._locks = locks
        self._max_model_bytes = max_model_bytes
        self._stalled_upload_s = stalled_upload_s
        self._now = now
        self._on_registered = on_registered
        self._uri_prefixes = uri_prefixes
        # Contents that `register` has read and found damaged. Forgotten by a restart, for `register` reads again.
        self._damaged: set[str] = set()

    async def find_upload(self, size_bytes: int, sha256: str) -> tuple[int, bool]:
        """How many bytes are here of an upload that was cut off, and whether the whole content is stored.

        It is stored as far as is known: `register` reads it, and where it is damaged the next answer here says so.
        """
        if not await self._is_stored(sha256, size_bytes):
            kept_bytes = await self._artifacts.find_upload(size_bytes, sha256)
            # The upload that was waited for may have been stored meanwhile.
            if kept_bytes or not await self._is_stored(sha256, size_bytes):
                return kept_bytes, False
        return size_bytes, True

    async def register(self, announced: Announcement, chunks: AsyncIterable[bytes]) -> Version:
        """The new version. A YardError, or a cancellation while the file arrives, leaves nothing of it.

        What arrived of a file whose sender was cut off is kept for the next try. What the announcement alone tells is
        refused before the first chunk is taken; of a content that is stored already none is. DeadlineExceededError
        where no byte comes for `stalled_upload_s` seconds.
        """
        check_announcement(announced, self._max_model_bytes)
        if version := await self._register_known(announced):
            return version
        async with self._artifacts.begin_upload(
            announced.size_bytes, announced.sha256, announced.offset_bytes
        ) as upload:
            await receive(upload, chunks, announced, self._stalled_upload_s)
            return await self._admit(announced, upload.path)

    async def register_from_uri(self, announced: Announcement, uri: str, on_progress: Progress) -> Version:
        """The new version of what the controller reads itself. A YardError or a cancellation leaves nothing.

        `on_progress(step, done_bytes, total_bytes)` is called in the event loop; the total is 0 where it is not known.
        """
        check_announcement(announced, self._max_model_bytes, is_sent=False)
        calls = BlockingCalls(uri[:200], self._stalled_upload_s)
        source = await calls.run(open_uri, uri, self._uri_prefixes)
        check_size(source.size_bytes or 0, self._max_model_bytes)
        async with self._artifacts.begin_upload(source.size_bytes or 0) as upload:
            await read_source(upload, source, announced, calls, on_progress, max_model_bytes=self._max_model_bytes)
            came_from = replace(announced.source, uri=without_password(uri))
            found = replace(announced, sha256=upload.sha256, size_bytes=upload.size_bytes, source=came_from)
            on_progress("checking", 0, found.size_bytes)
            if version := await self._register_known(found):
                return version
            return await self._admit(found, upload.path, on_progress)

    async def _register_known(self, announced: Announcement) -> Version | None:
        """None where the content is not stored, or damaged: it has to be sent then, which mends it."""
        known = await asyncio.to_thread(self._store.find_content, announced.sha256)
        if known is None or not await self._is_whole(known.facts.sha256, known.facts.size_bytes):
            return None
        if known.facts.size_bytes != announced.size_bytes:
            raise InvalidArgumentError(
                f"the file with this sha256 has {known.facts.size_bytes} bytes, and {announced.size_bytes} were "
                "announced; announce the size that it has"
            )
        await asyncio.to_thread(self._store.check_new, announced.model, announced.sha256)
        if can_copy(announced, known):
            return await run_to_end(self._copy(announced, known))
        described = replace(announced, gpu=announced.gpu or gpu_of(known))
        async with self._artifacts.local_copy(announced.sha256) as file:
            return await self._admit(described, file)

    async def _is_stored(self, sha256: str, size_bytes: int) -> bool:
        known = await asyncio.to_thread(self._store.find_content, sha256)
        if known is None or known.facts.size_bytes != size_bytes or sha256 in self._damaged:
            return False
        return await self._artifacts.has(sha256, size_bytes)

    async def _is_whole(self, sha256: str, size_bytes: int) -> bool:
        is_whole = await self._artifacts.verify(sha256, size_bytes)
        if is_whole:
            self._damaged.discard(sha256)
        else:
            self._damaged.add(sha256)
        return is_whole

    async def _copy(self, announced: Announcement, known: Version) -> Version | None:
        facts = known.facts
        async with self._locks.hold(facts.sha256, facts.sample.sha256 if facts.sample else ""):
            files = [(facts.sha256, facts.size_bytes)]
            if facts.sample:
                files.append((facts.sample.sha256, facts.sample.size_bytes))
            # A purge may have been faster.
            if not all([await self._artifacts.has(*file) for file in files]):
                return None
            return await self._create(copy_draft(announced, known))

    async def _admit(self, announced: Announcement, file: Path, on_progress: Progress | None = None) -> Version:
        """Looks at a file, whose size and sha256 were announced and found true, and keeps what is to be kept of it."""
        async with self._artifacts.workspace() as workspace:
            inspected = await self._inspector.inspect(
                file, workspace=workspace, gpu=announced.gpu, sample=announced.sample
            )
            content = announced.sha256, announced.size_bytes
            if inspected.file != file:
                content = await asyncio.to_thread(_measure, inspected.file)
                check_size(content[1], self._max_model_bytes)
            if on_progress:
                on_progress("storing", 0, content[1])
            # From here on it is kept whatever becomes of the caller: a file without its row would be half of it.
            return await run_to_end(self._keep(announced, inspected, *content, workspace))

    async def _keep(
        self, announced: Announcement, inspected: Inspected, sha256: str, size_bytes: int, workspace: Path
    ) -> Version:
        sample = _describe_sample(announced, inspected)
        async with self._locks.hold(sha256, sample.sha256 if sample else ""):
            uri = await self._artifacts.keep(inspected.file, sha256, size_bytes)
            self._damaged.discard(sha256)
            if sample and inspected.sample:
                file = workspace / "sample.npz.new"
                await asyncio.to_thread(file.write_bytes, inspected.sample)
                await self._artifacts.keep(file, sample.sha256, sample.size_bytes)
            return await self._create(
                make_draft(announced, inspected, uri=uri, sha256=sha256, size_bytes=size_bytes, sample=sample)
            )

    async def _create(self, draft: VersionDraft) -> Version:
        version = await asyncio.to_thread(self._store.create_version, draft, self._now())
        self._on_registered()
        return version


def _describe_sample(announced: Announcement, inspected: Inspected) -> Sample | None:
    if inspected.sample is None:
        return None
    sha256 = hashlib.sha256(inspected.sample).hexdigest()
    return Sample(sha256, len(inspected.sample), is_made=not announced.sample)


def _measure(file: Path) -> tuple[str, int]:
    return file_sha256(file), file.stat().st_size
