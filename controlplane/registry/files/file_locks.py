"""Locks on contents: a stored file is never removed between its keeping and its record."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager


class FileLocks:
    """Of one controller: nothing else removes files from its store."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._wanted: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, *sha256s: str) -> AsyncIterator[None]:
        """All of them, taken in one order, so that nobody waits for somebody who waits for him. "" is none."""
        async with AsyncExitStack() as held:
            for sha256 in sorted({sha256 for sha256 in sha256s if sha256}):
                await held.enter_async_context(self._one(sha256))
            yield

    @asynccontextmanager
    async def _one(self, sha256: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(sha256, asyncio.Lock())
        self._wanted[sha256] = self._wanted.get(sha256, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[sha256] -= 1
            if not self._wanted[sha256]:
                del self._wanted[sha256], self._locks[sha256]
