"""Model files by their SHA-256: each is fetched once, verified before use, and kept until the room is needed."""

import asyncio
import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from modelyard.errors import DataLossError, ResourceExhaustedError, UnavailableError

log = logging.getLogger(__name__)

_PARTIAL = ".partial"
# Room that is left to others on the disk.
_SPARE_BYTES = 64 << 20


FilesInUse = Callable[[], Collection[str]]


class ArtifactSource(Protocol):
    def read(self, sha256: str, offset_bytes: int) -> AsyncGenerator[bytes, None]:
        """The file's bytes from there on. Raises modelyard.errors; UnavailableError where the connection was cut."""


class ArtifactCache:
    """Files in `folder`, named by their checksum. One event loop uses it."""

    def __init__(self, folder: Path, source: ArtifactSource, limit_bytes: int) -> None:
        self._folder = folder
        self._source = source
        self._limit_bytes = limit_bytes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # What each file looked like when its checksum was last computed.
        self._verified: dict[str, tuple[int, int, int]] = {}
        self._make_folder()
        for leftover in folder.glob(f"*{_PARTIAL}"):
            leftover.unlink()

    async def fetch(self, sha256: str, size_bytes: int, in_use: FilesInUse = tuple) -> Path:
        """The path of the verified file.

        `in_use` gives the checksums whose files may not be removed to make room. It is asked whenever room is made:
        what others want may have changed during a long download.

        Raises DataLossError, ResourceExhaustedError, OSError, and what the source raises. What was fetched before an
        error is kept, so that the next call goes on from there.
        """
        path = self._folder / sha256
        async with self._locks.setdefault(sha256, asyncio.Lock()):
            self._make_folder()
            if not await self._is_intact(path, size_bytes):
                path.unlink(missing_ok=True)
                await self._download(path, size_bytes, in_use)
            _touch(path)
        self.evict({*in_use(), sha256})
        return path

    def evict(self, in_use: Collection[str]) -> None:
        """Removes files that are not `in_use`, the least recently used first, until the rest keeps to the limit.

        A disk that refuses is logged: whoever wants room calls again.
        """
        try:
            self._remove_partials(in_use)
            self._remove_excess(in_use)
        except OSError as error:
            log.warning("the cache of model files cannot be tidied up: %s", error)

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _remove_partials(self, in_use: Collection[str]) -> None:
        """Those of downloads that were given up, and that nobody will go on with."""
        for path in self._folder.glob(f"*{_PARTIAL}"):
            if path.stem not in in_use and path.stem not in self._locks:
                path.unlink(missing_ok=True)

    def _remove_excess(self, in_use: Collection[str]) -> None:
        files = self._list_files()
        excess = sum(size for _, size, _ in files) - self._limit_bytes
        for _, size, path in files:
            if path.name in in_use:
                _touch(path)
            elif excess > 0:
                self._remove(path)
                excess -= size

    def _list_files(self) -> list[tuple[int, int, Path]]:
        """(time of last use, size, path), the longest unused first."""
        paths = [path for path in self._folder.iterdir() if path.suffix != _PARTIAL]
        return sorted((path.stat().st_atime_ns, path.stat().st_size, path) for path in paths)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._verified.pop(path.name, None)

    async def _is_intact(self, path: Path, size_bytes: int) -> bool:
        if _size(path) != size_bytes:
            return False
        if self._verified.get(path.name) == _looks(path):
            return True
        return await self._verify(path, path.name)

    async def _verify(self, path: Path, sha256: str) -> bool:
        looks = _looks(path)
        if await asyncio.to_thread(_compute_sha256, path) != sha256:
            return False
        self._verified[sha256] = looks
        return True

    async def _download(self, path: Path, size_bytes: int, in_use: FilesInUse) -> None:
        partial = path.with_name(path.name + _PARTIAL)
        try:
            partial.open("ab").close()
            self._make_room(size_bytes - _size(partial), in_use())
            await self._complete(partial, path.name, size_bytes)
            await self._accept(partial, path, size_bytes)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            partial.unlink(missing_ok=True)
            raise self._no_room(size_bytes) from error

    async def _accept(self, partial: Path, path: Path, size_bytes: int) -> None:
        if _size(partial) != size_bytes or not await self._verify(partial, path.name):
            await asyncio.to_thread(partial.unlink)
            raise DataLossError(
                f"the controller sent other bytes than those recorded under SHA-256 {path.name}: "
                "its copy of the file is damaged; register the model again"
            )
        await asyncio.to_thread(_publish, partial, path)

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

    def _make_room(self, needed_bytes: int, in_use: Collection[str]) -> None:
        for _, _, path in self._list_files():
            if shutil.disk_usage(self._folder).free >= needed_bytes + _SPARE_BYTES:
                return
            if path.name not in in_use:
                self._remove(path)
        if shutil.disk_usage(self._folder).free < needed_bytes:
            raise self._no_room(needed_bytes)

    def _no_room(self, needed_bytes: int) -> ResourceExhaustedError:
        free = shutil.disk_usage(self._folder).free
        return ResourceExhaustedError(
            f"no room for a model file of {needed_bytes} bytes: the disk of {self._folder} has {free} bytes left; "
            "free some, or place the replica on another node"
        )


def _size(path: Path) -> int:
    """-1 where there is no file."""
    return path.stat().st_size if path.exists() else -1


def _looks(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _compute_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _touch(path: Path) -> None:
    """Notes its use. Disks are often mounted so that reading does not; the time of change has to stay as it is."""
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _publish(partial: Path, path: Path) -> None:
    """Gives the file its name, after its bytes are on the disk."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.chmod(0o444)
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
