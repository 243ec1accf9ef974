"""Removes the files of versions that were deleted, and files that no record needs. The records stay."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from controlplane.domain import Author, Version
from controlplane.registry.files.artifacts import ArtifactStore, StoredFile
from controlplane.registry.files.file_locks import FileLocks
from controlplane.registry.files.purged import Purged, PurgedSoFar
from controlplane.registry.store import RegistryStore
from controlplane.registry.uninterrupted import run_to_end
from modelyard.errors import FailedPreconditionError
from modelyard.resource_names import VersionName

# A file without a record is let be for so long: the store may be shared, and its other user about to write the record.
_ORPHAN_AGE = timedelta(hours=1)
_AT_ONCE = 100


class Purger:
    """The records say first that the files are gone, and the files go afterwards.

    So a purge that was cut off anywhere leaves at most files that nobody needs, which the next one finds; and no
    version that is not purged ever lacks its file.
    """

    def __init__(self, store: RegistryStore, artifacts: ArtifactStore, locks: FileLocks) -> None:
        self._store = store
        self._artifacts = artifacts
        self._locks = locks

    async def purge(self, author: Author, *, only: VersionName | None, min_age_s: int, dry_run: bool) -> Purged:
        """Of all that was deleted `min_age_s` seconds ago or earlier, or of one version.

        With `dry_run` it tells what would go. FailedPreconditionError where the one version is not to be purged.
        """
        deleted_before = author.at - timedelta(seconds=min_age_s)
        batches = self._find_versions(only, deleted_before)
        if dry_run:
            return await self._foresee(batches, is_all=only is None)
        purged, files = PurgedSoFar(), list[StoredFile]()
        async for version in batches:
            done, removed = await run_to_end(self._purge_version(version, author))
            purged.add(done)
            files += removed
        if only is None:
            async for found in self._find_orphans():
                files += [file for file in found if await run_to_end(self._remove(file))]
            await self._artifacts.sweep()
        return purged.finish(files)

    async def _find_versions(self, only: VersionName | None, deleted_before: datetime) -> AsyncIterator[Version]:
        """In batches: the records of all that was ever deleted may be more than fits into memory."""
        if only is not None:
            yield await asyncio.to_thread(self._get_version, only, deleted_before)
            return
        last: VersionName | None = None
        while found := await asyncio.to_thread(self._store.list_purgeable, deleted_before, _AT_ONCE, last):
            for version in found:
                yield version
            last = VersionName(found[-1].model, found[-1].number)

    def _get_version(self, only: VersionName, deleted_before: datetime) -> Version:
        version = self._store.get_version(*only)
        if version.deleted_at is None:
            raise FailedPreconditionError(
                f"{version.model_id} is not deleted; delete it first: modelyard delete {version.model_id}"
            )
        if version.deleted_at > deleted_before:
            raise FailedPreconditionError(
                f"{version.model_id} was deleted at {version.deleted_at:%Y-%m-%d %H:%M} only; wait, or ask for a "
                "smaller age"
            )
        return version

    async def _foresee(self, versions: AsyncIterator[Version], is_all: bool) -> Purged:
        told, names, files = PurgedSoFar(), set[VersionName](), dict[str, StoredFile]()
        async for version in versions:
            told.add(version)
            names.add(VersionName(version.model, version.number))
            files |= {file.sha256: file for file in _files_of(version)}
        going = [
            file
            for file in files.values()
            if not await asyncio.to_thread(self._store.is_needed, file.sha256, names)
            and await self._artifacts.has(file.sha256, file.size_bytes)
        ]
        if is_all:
            async for found in self._find_orphans():
                going += [file for file in found if file.sha256 not in files]
        return told.finish(going)

    async def _purge_version(self, version: Version, author: Author) -> tuple[Version, list[StoredFile]]:
        files = _files_of(version)
        async with self._locks.hold(*(file.sha256 for file in files)):
            if version.purged_at is None:
                version = await asyncio.to_thread(self._store.purge_version, version.model, version.number, author)
            return version, [file for file in files if await self._remove_held(file)]

    async def _remove(self, file: StoredFile) -> bool:
        async with self._locks.hold(file.sha256):
            return await self._remove_held(file)

    async def _remove_held(self, file: StoredFile) -> bool:
        """Whether there was such a file, and nobody needed it."""
        if await asyncio.to_thread(self._store.is_needed, file.sha256):
            return False
        return await self._artifacts.remove(file.sha256)

    async def _find_orphans(self) -> AsyncIterator[list[StoredFile]]:
        written_before = datetime.now(UTC) - _ORPHAN_AGE
        async for files in self._artifacts.list_files():
            old = [file for file in files if file.stored_at < written_before]
            yield await asyncio.to_thread(self._not_needed, old)

    def _not_needed(self, files: Sequence[StoredFile]) -> list[StoredFile]:
        return [file for file in files if not self._store.is_needed(file.sha256)]


def _files_of(version: Version) -> list[StoredFile]:
    facts, stored_at = version.facts, version.created_at
    files = [StoredFile(facts.sha256, facts.size_bytes, stored_at)]
    if facts.sample:
        files.append(StoredFile(facts.sample.sha256, facts.sample.size_bytes, stored_at))
    return files
