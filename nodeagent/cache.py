"""Models by the SHA-256 of their files: each is fetched once, verified before use, and kept while there is room."""

import asyncio
import errno
import logging
import shutil
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from modelyard.errors import DataLossError, ResourceExhaustedError, UnavailableError
from modelyard.uninterrupted import run_to_end
from nodeagent import cached_model

log = logging.getLogger(__name__)

_PARTIAL = ".partial"
_UNPACKING = ".unpacking"
# Room that is left to others on the disk.
_SPARE_BYTES = 64 << 20


FilesInUse = Callable[[], Collection[str]]


class ArtifactSource(Protocol):
    def read(self, sha256: str, offset_bytes: int) -> AsyncGenerator[bytes, None]:
        """The file's bytes from there on. Raises modelyard.errors; UnavailableError where the connection was cut."""


class ArtifactCache:
    """Files and unpacked folders in `folder`, named by the checksum. One event loop uses it.

    Whatever walks a model's folder, or reads or removes a model, does so in a thread: it may have thousands of files.
    """

    def __init__(self, folder: Path, source: ArtifactSource, limit_bytes: int) -> None:
        self._folder = folder
        self._source = source
        self._limit_bytes = limit_bytes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # What each file looked like when its checksum was last computed.
        self._verified: dict[str, cached_model.Looks] = {}
        # What each takes on the disk: measured once, since it is read-only.
        self._disk_bytes: dict[str, int] = {}
        # Held by who lists or removes what is here. Who holds the lock of a file may wait for it; not the reverse.
        self._tidying = asyncio.Lock()
        self._make_folder()
        for ending in (_PARTIAL, _UNPACKING):
            for leftover in folder.glob(f"*{ending}"):
                cached_model.remove(leftover)

    async def fetch(self, sha256: str, size_bytes: int, in_use: FilesInUse = tuple, *, is_packed: bool = False) -> Path:
        """The path of the verified file; of a packed one, that of the folder that it was unpacked into.

        `in_use` gives the checksums whose files may not be removed to make room. It is asked whenever room is made:
        what others want may have changed during a long download.

        Raises DataLossError, ResourceExhaustedError, OSError, and what the source raises. What was fetched before an
        error is kept, so that the next call goes on from there.
        """
        path = self._folder / sha256
        async with self._locks.setdefault(sha256, asyncio.Lock()):
            self._make_folder()
            if path.is_dir() != is_packed or not await self._is_intact(path, size_bytes):
                if path.exists():
                    log.warning("the model file %s in the cache is damaged: it is fetched anew", sha256)
                async with self._tidying:
                    await self._remove(path)
                await self._download(path, size_bytes, in_use, is_packed)
            cached_model.touch(path)
        await self.evict(lambda: {*in_use(), sha256})
        return path

    async def evict(self, in_use: FilesInUse) -> None:
        """Removes files that are not `in_use`, the least recently used first, until the rest keeps to the limit.

        A disk that refuses is logged: whoever wants room calls again.
        """
        try:
            async with self._tidying:
                await self._remove_partials(in_use)
                await self._remove_excess(in_use)
        except OSError as error:
            log.warning("the cache of model files cannot be tidied up: %s", error)

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def _remove_partials(self, in_use: FilesInUse) -> None:
        """Those of downloads that were given up, and that nobody will go on with."""
        for path in list(self._folder.glob(f"*{_PARTIAL}")):
            if path.stem not in in_use():
                await self._remove_unused(path)

    async def _remove_excess(self, in_use: FilesInUse) -> None:
        files = await run_to_end(asyncio.to_thread(self._list_files))
        excess = sum(size for _, size, _ in files) - self._limit_bytes
        for _, size, path in files:
            if path.name in in_use():
                cached_model.touch(path)
            elif excess > 0 and await self._remove_unused(path):
                excess -= size

    def _list_files(self) -> list[tuple[int, int, Path]]:
        """(time of last use, size, path), the longest unused first. Blocking, while `_tidying` is held."""
        paths = [path for path in self._folder.iterdir() if path.suffix not in (_PARTIAL, _UNPACKING)]
        return sorted((path.stat().st_atime_ns, self._measure(path), path) for path in paths)

    def _measure(self, path: Path) -> int:
        if path.name not in self._disk_bytes:
            self._disk_bytes[path.name] = cached_model.disk_bytes(path)
        return self._disk_bytes[path.name]

    async def _remove_unused(self, path: Path) -> bool:
        """False where somebody is fetching it. Whoever comes for it meanwhile waits, and then fetches it anew."""
        if path.stem in self._locks:
            return False
        async with self._locks.setdefault(path.stem, asyncio.Lock()):
            await self._remove(path)
        return True

    async def _remove(self, path: Path) -> None:
        self._verified.pop(path.name, None)
        self._disk_bytes.pop(path.name, None)
        await run_to_end(asyncio.to_thread(cached_model.remove, path))

    async def _is_intact(self, path: Path, size_bytes: int) -> bool:
        if await asyncio.to_thread(cached_model.size_bytes, path) != size_bytes:
            return False
        if self._verified.get(path.name) == await asyncio.to_thread(cached_model.looks, path):
            return True
        return await self._verify(path, path.name)

    async def _verify(self, path: Path, sha256: str) -> bool:
        looks = await asyncio.to_thread(cached_model.looks, path)
        if await asyncio.to_thread(cached_model.compute_sha256, path) != sha256:
            return False
        self._verified[sha256] = looks
        return True

    async def _download(self, path: Path, size_bytes: int, in_use: FilesInUse, is_packed: bool) -> None:
        partial = path.with_name(path.name + _PARTIAL)
        try:
            partial.open("ab").close()
            await self._make_room((1 + is_packed) * size_bytes - _size(partial), in_use)
            await self._complete(partial, path.name, size_bytes)
            await self._check(partial, path.name, size_bytes)
            if is_packed:
                await self._unpack(partial, path)
            else:
                await asyncio.to_thread(cached_model.publish_file, partial, path)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            no_room = self._no_room((1 + is_packed) * size_bytes)  # as it was found, before room is made
            await run_to_end(asyncio.to_thread(cached_model.remove, partial))
            raise no_room from error

    async def _check(self, partial: Path, sha256: str, size_bytes: int) -> None:
        if _size(partial) != size_bytes or not await self._verify(partial, sha256):
            await asyncio.to_thread(partial.unlink)
            raise DataLossError(
                f"the controller sent other bytes than those recorded under SHA-256 {sha256}: "
                "its copy of the file is damaged; register the model again"
            )

    async def _unpack(self, partial: Path, path: Path) -> None:
        """Keeps the folder in place of the packed file. Raises DataLossError where it would be packed otherwise."""
        folder = path.with_name(path.name + _UNPACKING)
        try:
            await run_to_end(asyncio.to_thread(cached_model.unpack_whole, partial, folder))
            if not await self._verify(folder, path.name):
                raise DataLossError(
                    f"the packed model with SHA-256 {path.name} is not packed as this release does it: "
                    "install the same release here as on the controller, or register the model again"
                )
            await run_to_end(asyncio.to_thread(cached_model.publish_folder, folder, path))
        except DataLossError:
            await asyncio.to_thread(partial.unlink)
            raise
        finally:
            await run_to_end(asyncio.to_thread(cached_model.remove, folder))
        await asyncio.to_thread(partial.unlink)

    async def _complete(self, partial: Path, sha256: str, size_bytes: int) -> None:
        """Fetches what is missing; goes on after a cut for as long as each try brings something."""
        while (have := _size(partial)) < size_bytes:
            try:
                await self._append(partial, sha256, have, size_bytes)
            except UnavailableError:
                if _size(partial) == have:
                    raise
            else:
                return

    async def _append(self, partial: Path, sha256: str, offset_bytes: int, size_bytes: int) -> None:
        # Buffered: a raw file may take a part of a chunk and say so to nobody, as it does when the disk fills up.
        with await asyncio.to_thread(partial.open, "ab") as file:
            async with aclosing(self._source.read(sha256, offset_bytes)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
                    if file.tell() > size_bytes:
                        return

    async def _make_room(self, needed_bytes: int, in_use: FilesInUse) -> None:
        async with self._tidying:
            for _, _, path in await run_to_end(asyncio.to_thread(self._list_files)):
                if shutil.disk_usage(self._folder).free >= needed_bytes + _SPARE_BYTES:
                    return
                if path.name not in in_use():
                    await self._remove_unused(path)
        if shutil.disk_usage(self._folder).free < needed_bytes:
            raise self._no_room(needed_bytes)

    def _no_room(self, needed_bytes: int) -> ResourceExhaustedError:
        free = shutil.disk_usage(self._folder).free
        return ResourceExhaustedError(
            f"no room for a model file: up to {needed_bytes} bytes are needed to fetch it, and the disk of "
            f"{self._folder} has {free} left; "
            "free some, or place the replica on another node"
        )


def _size(partial: Path) -> int:
    return partial.stat().st_size
