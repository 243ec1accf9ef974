"""The newest message for one stream: a slow reader skips what was overtaken, so that nothing piles up."""

import asyncio
from typing import Generic, TypeVar

from modelyard.errors import YardError

T = TypeVar("T")


class Mailbox(Generic[T]):
    """One writer's newest value, one reader. `close` ends the reader with an error, or quietly."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._value: T | None = None
        self._closed = False
        self._error: YardError | None = None

    def put(self, value: T) -> None:
        self._value = value
        self._news.set()

    def close(self, error: YardError | None = None) -> None:
        """Only the first call counts."""
        if not self._closed:
            self._closed, self._error = True, error
            self._news.set()

    async def get(self) -> T | None:
        """The newest value not yet read, once there is one; None after a quiet close, else raises its error."""
        await self._news.wait()
        if self._error is not None:
            raise self._error
        if self._closed:
            return None
        self._news.clear()
        return self._value
