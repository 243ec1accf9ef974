"""How many requests are in flight: the limit, and what a drain waits for."""

import asyncio
import time
from contextlib import AbstractContextManager
from typing import Any

from modelyard.errors import ResourceExhaustedError


class _Place(AbstractContextManager[None]):
    """A generator would take several times as long."""

    __slots__ = ("_admission",)

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission

    def __enter__(self) -> None:
        self._admission.begin()

    def __exit__(self, *_error: Any) -> None:
        self._admission.end()


class Admission:
    """Counts requests that run or wait, refuses those beyond `limit`, and answers on their way. For one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0
        self._on_their_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._place = _Place(self)
        self.idle_since = time.monotonic()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def has_room_ahead(self) -> bool:
        """Whether a stream may have one more request under way: the half of all places is left to others.

        Its first one is admitted like any request.
        """
        return self._in_flight < self._limit // 2

    def admit(self) -> AbstractContextManager[None]:
        """Entered, it raises ResourceExhaustedError at once where the limit is reached."""
        return self._place

    def begin(self) -> None:
        if self._in_flight >= self._limit:
            raise ResourceExhaustedError(
                f"{self._in_flight} requests are running or waiting on this replica, and its limit is {self._limit}:"
                " send fewer at a time, or deploy more replicas"
            )
        self._in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        self._in_flight -= 1
        self._note()

    def begin_answer(self) -> None:
        """A large answer to a slow reader is on its way long after the model has done its part."""
        self._on_their_way += 1
        self._note()

    def end_answer(self) -> None:
        self._on_their_way -= 1
        self._note()

    @property
    def is_idle(self) -> bool:
        return self._idle.is_set()

    async def wait_idle(self) -> None:
        await self._idle.wait()

    def _note(self) -> None:
        if self._in_flight or self._on_their_way:
            self._idle.clear()
        else:
            self.idle_since = time.monotonic()
            self._idle.set()
