"""A reader is closed at the end, and never under a read that still goes on in its thread."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

from controlplane.registry.files.blocking_calls import BlockingCalls
from controlplane.registry.files.verified_reading import read_blocks
from modelyard.errors import UnavailableError

T = TypeVar("T")


class _Reader:
    """Reads one byte at a time; the read of this number hangs until it may go on."""

    size_bytes, block_bytes = 3, 1

    def __init__(self, hanging: int = 2) -> None:
        self._hanging = hanging
        self.is_reading, self.go_on, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.reads = 0
        self.was_closed_under_a_read = False

    def seek(self, offset_bytes: int) -> None:
        pass

    def read(self, size_bytes: int) -> bytes:
        self.reads += 1
        if self.reads == self._hanging:
            self.is_reading.set()
            self.go_on.wait(20)
            self.was_closed_under_a_read = self.closed.is_set()
        return b"x" * size_bytes

    def close(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()


def end_reading(reader: _Reader) -> None:
    assert not reader.closed.is_set()
    reader.go_on.set()
    assert reader.closed.wait(20) and not reader.was_closed_under_a_read


async def test_who_leaves_early_leaves_the_closing_to_the_read_ahead() -> None:
    reader = _Reader()
    async with aclosing(read_blocks(BlockingCalls("it", 20.0), reader, 0)) as blocks:
        assert await anext(blocks) == b"x"
        # Only what has begun can be in the way.
        assert await asyncio.to_thread(reader.is_reading.wait, 20)
    end_reading(reader)


async def test_a_read_that_is_given_up_closes_when_it_comes_back() -> None:
    reader = _Reader(hanging=1)

    class Calls(BlockingCalls):
        """Are waited for from when they hang on: a thread that is slow to begin is given up before it reads."""

        def _start(self, act: Callable[..., T], arguments: tuple[Any, ...]) -> "asyncio.Future[T]":
            outcome = super()._start(act, arguments)
            assert reader.is_reading.wait(20)
            return outcome

    with pytest.raises(UnavailableError, match=r"did not answer within 0\.01 s"):
        async for _ in read_blocks(Calls("it", 0.01), reader, 0):
            pass
    end_reading(reader)


async def test_a_whole_reading_closes_once() -> None:
    reader = _Reader()
    reader.go_on.set()
    assert [block async for block in read_blocks(BlockingCalls("it", 20.0), reader, 0)] == [b"x"] * 3
    assert reader.closed.is_set()
