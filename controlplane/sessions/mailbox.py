"""What one stream is to be told: the newest state, and orders of which each counts.

A slow reader skips a state that was overtaken, so that nothing piles up. Orders are few and are refused beyond a limit.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from modelyard.errors import ResourceExhaustedError, YardError

T = TypeVar("T")

_MOST_ORDERS = 64


class Mailbox(Generic[T]):
    """One writer's newest value and its orders, one reader. `close` ends the reader with an error, or quietly."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._values: deque[T] = deque(maxlen=1)
        self._orders: deque[T] = deque()
        self._closed = False
        self._error: YardError | None = None

    def put(self, value: T) -> None:
        self._values.append(value)
        self._news.set()

    def order(self, order: T) -> None:
        """Is read once, after the newest value and the orders before it. Raises ResourceExhaustedError."""
        if len(self._orders) >= _MOST_ORDERS:
            raise ResourceExhaustedError(f"{_MOST_ORDERS} orders wait for it to read them already: try again later")
        self._orders.append(order)
        self._news.set()

    def close(self, error: YardError | None = None) -> None:
        """Only the first call counts."""
        if not self._closed:
            self._closed, self._error = True, error
            self._news.set()

    async def get(self) -> T | None:
        """The newest value not yet read, then the next order, once there is one; None after a quiet close.

        Raises the error that it was closed with.
        """
        await self._news.wait()
        if self._error is not None:
            raise self._error
        if self._closed:
            return None
        # An order may concern what the newest value is the first to name.
        message = (self._values or self._orders).popleft()
        if not self._values and not self._orders:
            self._news.clear()
        return message
