"""Brings a file into an upload: as somebody sends it, or as the controller reads it from a URI."""

import asyncio
from collections.abc import AsyncIterable, Callable

from controlplane.registry.announcement import Announcement, check_size
from controlplane.registry.files.blocking_calls import BlockingCalls
from controlplane.registry.files.upload import Upload
from controlplane.registry.files.uri_source import UriSource
from modelyard.errors import DeadlineExceededError, InvalidArgumentError

# What is done, how many bytes of it are, and how many there are in all, 0: not known.
Progress = Callable[[str, int, int], None]


async def receive(
    upload: Upload, chunks: AsyncIterable[bytes], announced: Announcement, stalled_upload_s: float
) -> None:
    """InvalidArgumentError or DataLossError for another file than the announced, DeadlineExceededError for a stall."""
    try:
        async with asyncio.timeout(stalled_upload_s) as patience:
            async for chunk in chunks:
                # An empty chunk is no progress, and the time that the disk takes is not the sender's.
                if chunk:
                    patience.reschedule(None)
                    await _write(upload, chunk, announced)
                    patience.reschedule(asyncio.get_running_loop().time() + stalled_upload_s)
    except TimeoutError:
        raise DeadlineExceededError(
            f"no byte of the file came for {stalled_upload_s:g} s, after {upload.size_bytes} of "
            f"{announced.size_bytes}: is its sender still there? Register it again"
        ) from None
    await upload.finish(announced.size_bytes, announced.sha256)


async def read_source(
    upload: Upload,
    source: UriSource,
    announced: Announcement,
    calls: BlockingCalls,
    on_progress: Progress,
    *,
    max_model_bytes: int,
) -> None:
    """As `receive`; ResourceExhaustedError where the file turns out too large."""
    total_bytes = source.size_bytes or 0
    on_progress("reading", 0, total_bytes)
    chunks = source.read()
    while (chunk := await calls.run(next, chunks, None)) is not None:
        check_size(upload.size_bytes + len(chunk), max_model_bytes)
        await upload.write(chunk)
        on_progress("reading", upload.size_bytes, total_bytes)
    if source.size_bytes not in (None, upload.size_bytes):
        raise InvalidArgumentError(f"{source.uri} was changed while it was read; register it again")
    await upload.finish(announced.size_bytes or upload.size_bytes, announced.sha256 or upload.sha256)


async def _write(upload: Upload, chunk: bytes, announced: Announcement) -> None:
    if upload.size_bytes + len(chunk) > announced.size_bytes:
        raise InvalidArgumentError(
            f"more than the announced {announced.size_bytes} bytes arrived; was the file changed meanwhile? "
            "Register it again"
        )
    await upload.write(chunk)
