"""A file on its way in: on a local disk, hashed while it is written, gone again unless it is kept."""

import asyncio
import contextlib
import hashlib
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from controlplane.registry.disk_room import Promise
from controlplane.registry.storage_errors import storage_errors_explained
from modelyard.errors import DataLossError, InvalidArgumentError


class Upload:
    """Use it in `async with`: what was not moved away by the end of the block is removed.

    The file is made by the first write, inside that block: a caller cancelled before it has nothing to remove.
    """

    def __init__(self, path: Path, promise: Promise) -> None:
        self.path = path
        self._promise = promise
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        # A cancelled caller leaves its last write running in a thread: removing the file waits for that.
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._is_discarded = False

    @property
    def sha256(self) -> str:
        """Of what was written so far, 64 hexadecimal digits."""
        return self._sha256.hexdigest()

    async def write(self, chunk: bytes) -> None:
        """ResourceExhaustedError on a full disk, UnavailableError on a dead one."""
        await asyncio.to_thread(self._write, chunk)

    async def finish(self, size_bytes: int, sha256: str) -> None:
        """Puts it on the disk for good. InvalidArgumentError or DataLossError where it is not what was announced."""
        if self.size_bytes != size_bytes:
            raise InvalidArgumentError(
                f"{self.size_bytes} bytes arrived and {size_bytes} were announced; send the whole file as it is"
            )
        if self.sha256 != sha256:
            raise DataLossError(
                f"the bytes that arrived have sha256 {self.sha256}, announced was {sha256}: "
                "the file was changed or damaged on its way; register it again"
            )
        await asyncio.to_thread(self._finish)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self._discard))

    def _write(self, chunk: bytes) -> None:
        with self._lock, storage_errors_explained(self.path):
            if self._is_discarded:
                return
            self._promise.use(len(chunk))
            self._open().write(chunk)
            self._sha256.update(chunk)
            self.size_bytes += len(chunk)

    def _finish(self) -> None:
        with self._lock, storage_errors_explained(self.path):
            if self._is_discarded:
                return
            file = self._open()
            file.flush()
            os.fsync(file.fileno())
            file.close()

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = self.path.open("xb")
        return self._file

    def _discard(self) -> None:
        with self._lock:
            self._is_discarded = True
            self._promise.end()
            if self._file is None:
                return
            # Closing writes what is buffered, which a full disk refuses; the descriptor is closed all the same.
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
