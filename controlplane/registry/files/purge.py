"""Removes the files of versions that were deleted, and files that no record needs. The records stay."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from controlplane.domain import Author, Version
from controlplane.registry.files.artifacts import ArtifactStore, StoredFile
from controlplane.registry.files.file_locks import FileLocks
from controlplane.registry.files.purged import Purged, PurgedSoFar
from controlplane.registry.refusals import deleted_lately
from controlplane.registry.store import RegistryStore
from modelyard.errors import FailedPreconditionError
from modelyard.resource_names import VersionName
from modelyard.uninterrupted import run_to_end

# A file without a record is let be for so long, beside the locks: they know nothing of what a controller that was
# replaced just now, or a call that was given up, may still be writing.
_ORPHAN_AGE = timedelta(hours=1)
_AT_ONCE = 100


@dataclass(frozen=True)
class _Order:
    """What is asked for. `only`: None for all versions that were deleted until `deleted_before`."""

    author: Author
    only: VersionName | None
    deleted_before: datetime


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

        With `dry_run` it tells what would go. FailedPreconditionError where the one version is not to be purged; of
        all, one that was restored or purged since it was found is passed over.
        """
        order, told = _Order(author, only, author.at - timedelta(seconds=min_age_s)), PurgedSoFar()
        if dry_run:
            await self._foresee(order, told)
            return told.finish()
        async for version in self._find_versions(order):
            await run_to_end(self._purge_version(version, order, told))
        if only is None:
            async for files in self._find_orphans():
                for file in files:
                    await run_to_end(self._remove(file, told))
            await self._artifacts.sweep()
        return told.finish()

    async def _find_versions(self, order: _Order) -> AsyncIterator[Version]:
        """In batches: the records of all that was ever deleted may be more than fits into memory."""
        if order.only is not None:
            yield await asyncio.to_thread(self._get_version, order.only, order.deleted_before)
            return
        last: VersionName | None = None
        while found := await asyncio.to_thread(self._store.list_purgeable, order.deleted_before, _AT_ONCE, last):
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
            raise deleted_lately(version)
        return version

    async def _foresee(self, order: _Order, told: PurgedSoFar) -> None:
        async for version in self._find_versions(order):
            told.add(version)
            if order.only is not None:
                await self._foresee_files(version, told)
        if order.only is None:
            # What is stored, not what the versions name: so each file is counted once, and none has to be remembered.
            async for files in self._artifacts.list_files():
                for file in await asyncio.to_thread(self._choose_going, files, order.deleted_before):
                    told.add_file(file)

    async def _foresee_files(self, version: Version, told: PurgedSoFar) -> None:
        name = VersionName(version.model, version.number)
        for file in {file.sha256: file for file in _files_of(version)}.values():
            is_needed = await asyncio.to_thread(self._store.is_needed, file.sha256, [name])
            if not is_needed and await self._artifacts.has(file.sha256, file.size_bytes):
                told.add_file(file)

    def _choose_going(self, files: Sequence[StoredFile], deleted_before: datetime) -> list[StoredFile]:
        """Those that only versions need which would go, and the orphans."""
        not_kept = [file for file in files if not self._store.is_needed(file.sha256, deleted_before=deleted_before)]
        return [file for file in not_kept if _is_old(file) or self._store.is_needed(file.sha256)]

    async def _purge_version(self, version: Version, order: _Order, told: PurgedSoFar) -> None:
        files = _files_of(version)
        async with self._locks.hold(*(file.sha256 for file in files)):
            if version.purged_at is None:
                try:
                    version = await asyncio.to_thread(
                        self._store.purge_version, version.model, version.number, order.author, order.deleted_before
                    )
                except FailedPreconditionError:
                    if order.only is not None:
                        raise
                    return  # restored, deleted anew or purged by somebody else since it was found
            told.add(version)
            for file in files:
                await self._remove_held(file, told)

    async def _remove(self, file: StoredFile, told: PurgedSoFar) -> None:
        async with self._locks.hold(file.sha256):
            await self._remove_held(file, told)

    async def _remove_held(self, file: StoredFile, told: PurgedSoFar) -> None:
        """Unless somebody needs it."""
        if await asyncio.to_thread(self._store.is_needed, file.sha256):
            return
        if await self._artifacts.remove(file.sha256):
            told.add_file(file)

    async def _find_orphans(self) -> AsyncIterator[list[StoredFile]]:
        async for files in self._artifacts.list_files():
            yield await asyncio.to_thread(self._not_needed, list(filter(_is_old, files)))

    def _not_needed(self, files: Sequence[StoredFile]) -> list[StoredFile]:
        return [file for file in files if not self._store.is_needed(file.sha256)]


def _is_old(file: StoredFile) -> bool:
    return file.stored_at < datetime.now(UTC) - _ORPHAN_AGE


def _files_of(version: Version) -> list[StoredFile]:
    facts, stored_at = version.facts, version.created_at
    files = [StoredFile(facts.sha256, facts.size_bytes, stored_at)]
    if facts.sample:
        files.append(StoredFile(facts.sample.sha256, facts.sample.size_bytes, stored_at))
    return files
