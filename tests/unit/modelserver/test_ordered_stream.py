"""A stream's answers come in the order of its requests, however long each takes, and with its end all ends."""

import asyncio
import gc
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.modelserver import ordered_stream
from nodeagent.modelserver.admission import Admission
from nodeagent.modelserver.ordered_stream import OrderedStream


async def each(items: Iterable[bytes]) -> AsyncIterator[bytes]:
    for item in items:
        yield item


class Work:
    """Answers that are ready when a test says so."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.cancelled: list[bytes] = []
        self._events: dict[bytes, asyncio.Event] = {}

    def finish(self, data: bytes) -> None:
        self._events[data].set()

    async def answer(self, data: bytes) -> bytes:
        self.begun.append(data)
        self._events[data] = asyncio.Event()
        try:
            await self._events[data].wait()
        except asyncio.CancelledError:
            self.cancelled.append(data)
            raise
        return data.upper()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")


async def after_one(work: Work, answers: AsyncGenerator[bytes, None]) -> None:
    """Past the first request, of the name "0", whose answer tells how large answers are."""
    first = asyncio.ensure_future(anext(answers))
    await until(lambda: b"0" in work.begun)
    work.finish(b"0")
    assert await first == b"0"
    work.begun.remove(b"0")


@given(durations=st.lists(st.integers(0, 5), max_size=30), most=st.integers(1, 8))
async def test_answers_come_in_order_whatever_each_takes(durations: list[int], most: int) -> None:
    under_way, highest = 0, 0

    async def answer(data: bytes) -> bytes:
        nonlocal under_way, highest
        under_way += 1
        highest = max(highest, under_way)
        for _ in range(durations[int(data)]):
            await asyncio.sleep(0)
        under_way -= 1
        return data

    requests = [str(index).encode() for index in range(len(durations))]
    stream = OrderedStream(most, lambda: True)
    assert [answered async for answered in stream.answers(each(requests), answer)] == requests
    assert highest <= most


async def test_several_are_under_way_and_never_more_than_allowed() -> None:
    work, stream = Work(), OrderedStream(3, lambda: True)
    answers = stream.answers(each([b"0", b"a", b"b", b"c", b"d", b"e"]), work.answer)
    await after_one(work, answers)
    first = asyncio.ensure_future(anext(answers))
    await until(lambda: len(work.begun) == 3)
    work.finish(b"c")
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.begun == [b"a", b"b", b"c"] and not first.done()  # c's answer has a place until it is handed on
    work.finish(b"a")
    assert await first == b"A"
    second = asyncio.ensure_future(anext(answers))
    await until(lambda: work.begun[3:] == [b"d"])
    second.cancel()
    await asyncio.wait({second})


async def test_a_crowded_server_gets_one_at_a_time() -> None:
    work, stream = Work(), OrderedStream(8, lambda: False)
    answers = stream.answers(each([b"a", b"b"]), work.answer)
    first = asyncio.ensure_future(anext(answers))
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.begun == [b"a"]
    work.finish(b"a")
    assert await first == b"A"
    second = asyncio.ensure_future(anext(answers))
    await until(lambda: b"b" in work.begun)
    work.finish(b"b")
    assert await second == b"B"
    with pytest.raises(StopAsyncIteration):
        await anext(answers)


async def test_large_answers_that_nobody_reads_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_stream, "MOST_BYTES", 30)
    begun: list[bytes] = []

    async def answer(data: bytes) -> bytes:
        begun.append(data)
        return data * 10

    requests = [str(index).encode() for index in range(9)]
    answers = OrderedStream(16, lambda: True).answers(each(requests), answer)
    handed_on = [await anext(answers)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(begun) == 3
    assert handed_on + [answered async for answered in answers] == [data * 10 for data in requests]


async def test_an_answer_larger_than_all_may_be_is_given_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_stream, "MOST_BYTES", 1)

    async def answer(data: bytes) -> bytes:
        return data * 10

    answers = OrderedStream(16, lambda: True).answers(each([b"a", b"b", b"c"]), answer)
    assert [answered[:1] async for answered in answers] == [b"a", b"b", b"c"]


async def test_a_stream_that_stands_idle_keeps_no_answer() -> None:
    class Answer(bytes):
        def __del__(self) -> None:
            let_go.append(bytes(self))

    let_go: list[bytes] = []
    go_on = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        yield b"a"
        await go_on.wait()

    async def answer(data: bytes) -> bytes:
        return Answer(data)

    answers = OrderedStream(16, lambda: True).answers(requests(), answer)
    assert await anext(answers) == b"a"
    ending = asyncio.ensure_future(anext(answers, b"end"))
    await asyncio.sleep(0)
    gc.collect()
    assert let_go == [b"a"]
    go_on.set()
    assert await ending == b"end"


async def test_a_stream_that_waits_for_each_answer_gets_it() -> None:
    """As a client does that feeds a state back."""
    answered = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        for _ in range(3):
            answered.clear()
            yield b"x"
            await answered.wait()

    async def answer(data: bytes) -> bytes:
        await asyncio.sleep(0)
        return data

    count = 0
    async for _ in OrderedStream(4, lambda: True).answers(requests(), answer):
        count += 1
        answered.set()
    assert count == 3


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_the_end_of_a_stream_ends_what_runs_for_it(how: str) -> None:
    work, stream = Work(), OrderedStream(3, lambda: True)
    answers = stream.answers(each([b"0", b"a", b"b", b"c"]), work.answer)
    await after_one(work, answers)
    first = asyncio.ensure_future(anext(answers))
    await until(lambda: sorted(work.begun) == [b"a", b"b", b"c"])
    if how == "cancel":
        stream.cancel()
    else:
        first.cancel()
    await asyncio.wait({first})
    await until(lambda: sorted(work.cancelled) == [b"a", b"b", b"c"])
    assert len(asyncio.all_tasks()) == 1


async def test_an_error_of_the_incoming_side_is_raised_after_what_was_asked_before() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise ConnectionError("cut")

    async def answer(data: bytes) -> bytes:
        return data

    answers = OrderedStream(3, lambda: True).answers(broken(), answer)
    assert await anext(answers) == b"a"
    with pytest.raises(ConnectionError, match="cut"):
        await anext(answers)


def test_half_of_all_places_are_left_to_others() -> None:
    chance = random.Random(0)
    for limit in (1, 2, 3, 8, 128):
        admission = Admission(limit)
        admission._in_flight = chance.randrange(limit + 1)
        assert admission.has_room_ahead() == (admission.in_flight < limit // 2)
