"""How many requests are in flight: the limit, and what a drain waits for."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.errors import ResourceExhaustedError


class Admission:
    """Counts requests that run or wait, refuses those beyond `limit`, and answers on their way. For one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0
        self._on_their_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.idle_since = time.monotonic()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Raises ResourceExhaustedError at once where the limit is reached."""
        if self._in_flight >= self._limit:
            raise ResourceExhaustedError(
                f"{self._in_flight} requests are running or waiting on this replica, which is its limit: send fewer at"
                " a time, or deploy more replicas"
            )
        self._in_flight += 1
        self._note()
        try:
            yield
        finally:
            self._in_flight -= 1
            self._note()

    def begin_answer(self) -> None:
        """A large answer to a slow reader is on its way long after the model has done its part."""
        self._on_their_way += 1
        self._note()

    def end_answer(self) -> None:
        self._on_their_way -= 1
        self._note()

    async def wait_idle(self) -> None:
        await self._idle.wait()

    def _note(self) -> None:
        if self._in_flight or self._on_their_way:
            self._idle.clear()
        else:
            self.idle_since = time.monotonic()
            self._idle.set()
