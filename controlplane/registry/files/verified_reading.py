"""Reads stored files block by block, the next one while the last is being sent, and hashes them on the way."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator

from controlplane.registry.files.blocking_calls import BlockingCalls
from controlplane.registry.files.readers import Reader, read_block
from controlplane.registry.files.storage_errors import storage_errors_explained
from modelyard.errors import DataLossError


async def read_blocks(calls: BlockingCalls, reader: Reader, offset_bytes: int) -> AsyncGenerator[bytes, None]:
    """From `offset_bytes` to the end. At most two blocks are in memory. The reader is closed at the end."""
    reader.seek(offset_bytes)
    starts = iter(range(offset_bytes, reader.size_bytes, reader.block_bytes))

    def begin() -> "asyncio.Task[bytes] | None":
        if (start := next(starts, None)) is None:
            return None
        return asyncio.create_task(calls.run(_read, reader, start))

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
        reader.close()


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


def _read(reader: Reader, offset_bytes: int) -> bytes:
    with storage_errors_explained("the stored file"):
        return read_block(reader, offset_bytes)
