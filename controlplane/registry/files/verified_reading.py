"""Reads stored files block by block, the next one while the last is being sent, and hashes them on the way."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncGenerator

from controlplane.registry.files.blocking_calls import BlockingCalls
from controlplane.registry.files.readers import Reader, read_block
from controlplane.registry.files.storage_errors import storage_errors_explained
from modelyard.errors import DataLossError


async def read_blocks(calls: BlockingCalls, reader: Reader, offset_bytes: int) -> AsyncGenerator[bytes, None]:
    """From `offset_bytes` to the end. At most two blocks are in memory. The reader is closed at the end."""
    reader.seek(offset_bytes)
    reading = _Reading(reader)
    starts = iter(range(offset_bytes, reader.size_bytes, reader.block_bytes))

    def begin() -> "asyncio.Task[bytes] | None":
        if (start := next(starts, None)) is None:
            return None
        return asyncio.create_task(calls.run(reading.read, start))

    ahead = begin()
    try:
        while ahead is not None:
            block = await ahead
            ahead = begin()
            yield block
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
        reading.close()


async def read_verified(calls: BlockingCalls, reader: Reader, sha256: str) -> AsyncGenerator[bytes, None]:
    """The whole file. DataLossError behind the last block where the bytes are not those of `sha256`."""
    digest = hashlib.sha256()
    async for block in read_blocks(calls, reader, 0):
        await asyncio.to_thread(digest.update, block)
        yield block
    if digest.hexdigest() != sha256:
        raise DataLossError(
            f"the stored file with sha256 {sha256} is damaged: its bytes have {digest.hexdigest()}; "
            "register the same file again, which mends it"
        )


class _Reading:
    """A reader that is closed when its last read is over. Thread-safe.

    A call that was given up goes on in its thread: closed under it, its descriptor would soon be that of another file.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._is_reading = self._is_closed = False

    def read(self, offset_bytes: int) -> bytes:
        with self._lock:
            if self._is_closed:  # before the thread had begun: nobody waits for it
                return b""
            self._is_reading = True
        try:
            with storage_errors_explained("the stored file"):
                return read_block(self._reader, offset_bytes)
        finally:
            with self._lock:
                self._is_reading = False
                is_closed = self._is_closed
            if is_closed:
                self._reader.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            is_reading = self._is_reading
        if not is_reading:
            self._reader.close()
