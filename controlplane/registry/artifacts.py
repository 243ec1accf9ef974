"""Model files, kept by their content: `sha256/ab/abcdef...` under any folder that fsspec can reach.

An upload waits in `incoming/` on a local disk, so that it can be looked at before it is kept, and so that what is cut
off never reaches the store. A file that is kept and has no version yet (the controller died in between) does no harm:
the same bytes find it there the next time.
"""

import asyncio
import os
import re
import secrets
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from controlplane.registry.disk_room import DiskRoom
from controlplane.registry.storage_errors import storage_errors_explained
from controlplane.registry.upload import Upload
from modelyard.errors import InvalidArgumentError, NotFoundError

CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse_sha256(text: str) -> str:
    """In lower case. InvalidArgumentError for anything but 64 hexadecimal digits."""
    if not _SHA256.fullmatch(text.lower()):
        raise InvalidArgumentError(
            f"{text[:80]!r} is not a sha256: wanted 64 hexadecimal digits, as sha256sum prints them"
        )
    return text.lower()


class ArtifactStore:
    """Content-addressed files under `url`, a folder or an fsspec URL such as hdfs://namenode/yard.

    `spool`: a local folder where uploads wait if `url` is not local; a local store keeps them beside its files.
    """

    def __init__(self, url: str, spool: Path) -> None:
        try:
            self._fs, self._root = fsspec.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise InvalidArgumentError(f"{url!r} is no place to keep artifacts: {error}") from error
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self._incoming = (Path(self._root) if self._is_local else spool) / "incoming"
        self._room = DiskRoom(self._incoming)

    def prepare(self) -> None:
        """Makes the folders and removes what earlier uploads left behind. Blocking; once, before the first upload."""
        with storage_errors_explained(self._root):
            self._fs.makedirs(f"{self._root}/sha256", exist_ok=True)
            self._incoming.mkdir(parents=True, exist_ok=True)
            for leftover in self._incoming.iterdir():
                leftover.unlink()

    def begin_upload(self, size_bytes: int) -> Upload:
        """Use it in `async with`. ResourceExhaustedError where a file of that size has no room."""
        return Upload(self._incoming / secrets.token_hex(16), self._room.promise(size_bytes))

    async def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether such a file is kept, as far as its size tells."""
        return await asyncio.to_thread(self._has, self._path(sha256), size_bytes)

    async def keep(self, upload: Upload) -> str:
        """Moves a finished upload into the store, at once or not at all, and returns its URI."""
        return await asyncio.to_thread(self._keep, upload)

    async def read(self, sha256: str, offset_bytes: int = 0) -> AsyncGenerator[bytes, None]:
        """The file from `offset_bytes` on, in chunks of at most CHUNK_BYTES. NotFoundError, InvalidArgumentError."""
        file = await asyncio.to_thread(self._open, parse_sha256(sha256), offset_bytes)
        try:
            while chunk := await asyncio.to_thread(self._read_chunk, file):
                yield chunk
        finally:
            file.close()

    def _path(self, sha256: str) -> str:
        return f"{self._root}/sha256/{sha256[:2]}/{sha256}"

    def _keep(self, upload: Upload) -> str:
        target = self._path(upload.sha256)
        with storage_errors_explained(target):
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            if self._is_local:
                # In the place of one that is there already: these bytes were verified just now, those long ago.
                _move_local(upload.path, Path(target))
            elif not self._has(target, upload.size_bytes):
                self._send(upload.path, target)
        return str(self._fs.unstrip_protocol(target))

    def _has(self, target: str, size_bytes: int) -> bool:
        with storage_errors_explained(target):
            return bool(self._fs.exists(target)) and self._fs.size(target) == size_bytes

    def _send(self, source: Path, target: str) -> None:
        # Under another name first: not every file system shows a file only once it is whole.
        partial = f"{target}.{source.name}"
        try:
            self._fs.put_file(str(source), partial)
            self._fs.mv(partial, target)
        except BaseException:
            if self._fs.exists(partial):
                self._fs.rm_file(partial)
            raise

    def _open(self, sha256: str, offset_bytes: int) -> IO[bytes]:
        path = self._path(sha256)
        with storage_errors_explained(path):
            try:
                size: int = self._fs.size(path)
                file: IO[bytes] = self._fs.open(path, "rb")
            except FileNotFoundError as error:
                raise NotFoundError(f"no file with sha256 {sha256} is stored here") from error
            if not 0 <= offset_bytes <= size:
                file.close()
                raise InvalidArgumentError(f"offset {offset_bytes} is outside the file: it has {size} bytes")
            file.seek(offset_bytes)
        return file

    def _read_chunk(self, file: IO[bytes]) -> bytes:
        with storage_errors_explained(self._root):
            return file.read(CHUNK_BYTES)


def _move_local(source: Path, target: Path) -> None:
    source.chmod(0o400)
    source.replace(target)
    # The new names are on the disk only once their folders are.
    for folder in (target.parent, target.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
