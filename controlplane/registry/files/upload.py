"""A file on its way in: on a local disk, hashed while it is written, gone again unless it is kept or was cut off."""

import asyncio
import contextlib
import hashlib
import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from controlplane.registry.files.disk_room import Promise
from controlplane.registry.files.incoming import Incoming
from controlplane.registry.files.storage_errors import storage_errors_explained
from modelyard.errors import (
    AbortedError,
    DataLossError,
    DeadlineExceededError,
    InvalidArgumentError,
    UnavailableError,
)
from modelyard.uninterrupted import run_to_end

_READ_BYTES = 1 << 20


class _ShortError(InvalidArgumentError):
    """The stream ended too early. gRPC ends it like that where the connection was cut while nothing came."""


# None of these says anything against the file: its sender may go on from what has arrived.
_CUT_OFF = (asyncio.CancelledError, AbortedError, DeadlineExceededError, UnavailableError, _ShortError)


class Upload:
    """Use it in `async with`. What was not moved away by the end of the block is removed, or kept where it was cut off.

    `sha256`: what is announced, "" where that is not known. `whole_bytes`: the size that is announced, as far as it is
    known. `offset_bytes`: where the first chunk belongs; the block raises AbortedError where less is kept, and
    ResourceExhaustedError where the rest has no room. What is kept stays then, as long as nobody else needs its room.
    """

    def __init__(self, incoming: Incoming, whole_bytes: int, sha256: str, offset_bytes: int) -> None:
        self._incoming = incoming
        self._announced = (whole_bytes, sha256)
        self._offset_bytes = offset_bytes
        self.size_bytes = 0  # of what is here
        self._sha256 = hashlib.sha256()
        # A cancelled caller leaves its last write running in a thread: what comes after waits for that.
        self._lock = threading.Lock()
        self._promise: Promise | None = None
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    @property
    def path(self) -> Path:
        assert self._path is not None, "only inside its block"
        return self._path

    @property
    def sha256(self) -> str:
        """Of what was written so far, 64 hexadecimal digits."""
        return self._sha256.hexdigest()

    async def write(self, chunk: bytes) -> None:
        """ResourceExhaustedError on a full disk, UnavailableError on a dead one."""
        await asyncio.to_thread(self._write, chunk)

    async def finish(self, size_bytes: int, sha256: str) -> None:
        """It is whole. InvalidArgumentError or DataLossError where it is not what was announced."""
        if self.size_bytes != size_bytes:
            raise _ShortError(
                f"{self.size_bytes} bytes arrived and {size_bytes} were announced; send the whole file as it is"
            )
        if self.sha256 != sha256:
            raise DataLossError(
                f"the bytes that arrived have sha256 {self.sha256}, announced was {sha256}: "
                "the file was changed or damaged on its way; register it again"
            )
        await asyncio.to_thread(self._finish)

    async def __aenter__(self) -> Self:
        try:
            await run_to_end(asyncio.to_thread(self._begin))
        except BaseException:
            await self._end(is_kept=True)  # nothing of that says anything against what had arrived before
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end(is_kept=isinstance(error, _CUT_OFF))

    async def _end(self, *, is_kept: bool) -> None:
        await asyncio.shield(asyncio.to_thread(self._leave, is_kept))

    def _begin(self) -> None:
        whole_bytes, sha256 = self._announced
        with self._lock, storage_errors_explained(self._incoming.folder):
            self._path = self._incoming.claim(sha256, whole_bytes)
            is_kept = self._path.exists()
            kept_bytes = self._path.stat().st_size if is_kept else 0
            if kept_bytes < self._offset_bytes:
                raise AbortedError(
                    f"{kept_bytes} bytes of this file are kept here, and it was to go on after {self._offset_bytes}; "
                    "ask again how much there is"
                )
            self._promise = self._incoming.room.promise(whole_bytes - self._offset_bytes)
            self._file = self._path.open("r+b" if is_kept else "xb")
            self._take_up()

    def _take_up(self) -> None:
        """Hashes what is kept, and drops what comes after the offset."""
        file = self._open_file()
        while left := self._offset_bytes - self.size_bytes:
            chunk = file.read(min(_READ_BYTES, left))
            if not chunk:
                raise UnavailableError(f"{self._path} was cut off by something else; register the file again")
            self._sha256.update(chunk)
            self.size_bytes += len(chunk)
        file.seek(self._offset_bytes)
        file.truncate()

    def _write(self, chunk: bytes) -> None:
        with self._lock, storage_errors_explained(self._path):
            if self._file is None:  # the block has ended
                return
            assert self._promise is not None
            self._promise.use(len(chunk))
            self._file.write(chunk)
            self._file.flush()  # it is kept even where this process is killed
            self._sha256.update(chunk)
            self.size_bytes += len(chunk)

    def _finish(self) -> None:
        with self._lock, storage_errors_explained(self._path):
            self._open_file().flush()

    def _open_file(self) -> BinaryIO:
        assert self._file is not None
        return self._file

    def _leave(self, is_kept: bool) -> None:
        with self._lock:
            if self._promise is not None:
                self._promise.end()
            if self._file is not None:
                # Closing writes what is buffered, which a full disk refuses; the descriptor is closed all the same.
                with contextlib.suppress(OSError):
                    self._file.close()
                self._file = None
            if self._path is not None:
                self._incoming.release(self._path, is_kept)
