"""Work that a cancelled caller must not leave half-done."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. A caller that is cancelled, even twice, still waits for its end, and is cancelled then."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Whatever came of it, the caller learns only that it was cancelled.
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):  # a call that was cut off, and then the server's end
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would log it
        raise
