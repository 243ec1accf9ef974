"""Every fact reaches the lineage store, once and in order, whatever fails in between."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

import pytest

from controlplane.domain import Fact, Version
from controlplane.registry.recorder import LineageRecorder
from modelyard.errors import UnavailableError
from modelyard.resource_names import VersionName
from tests.harness.memory_registry import MemoryRegistry
from tests.harness.records import NOW, make_author, make_draft

Entries = Sequence[tuple[Fact, Version]]


class FakeLineage:
    """Fails as often as it is told, and always for the facts in `refused`; `recorded` has what got through."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.recorded: list[int] = []
        self.refused: set[int] = set()
        self.failures = failures
        self.error = error or UnavailableError("the lineage store is away")
        self.asked: list[int] = []

    def has(self, facts: Sequence[Fact]) -> Collection[int]:
        self.asked += [fact.number for fact in facts]
        return {fact.number for fact in facts} & set(self.recorded)

    def record(self, entries: Entries) -> None:
        if self.refused & {fact.number for fact, _ in entries}:
            raise ValueError("a value that this store does not take")
        if self.failures:
            self.failures -= 1
            raise self.error
        assert all((fact.model, fact.version) == (version.model, version.number) for fact, version in entries)
        self.recorded += [fact.number for fact, _ in entries if fact.number not in self.recorded]


Start = Callable[..., LineageRecorder]


@pytest.fixture
def store() -> MemoryRegistry:
    return MemoryRegistry()


def register(store: MemoryRegistry, *contents: int) -> None:
    for content in contents:
        store.create_version(make_draft(content=str(content)), NOW)


def unrecorded(store: MemoryRegistry) -> list[int]:
    return [fact.number for fact in store.list_facts(False, 0, 10_000)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0.001)  # the recorder's threads want the processor, too


async def until_unrecorded_are(store: MemoryRegistry, *expected: int) -> None:
    await until(lambda: unrecorded(store) == list(expected))


@pytest.fixture
async def start(store: MemoryRegistry) -> AsyncIterator[Start]:
    started = []

    def start(lineage: FakeLineage, look_again_s: float = 30.0) -> LineageRecorder:
        recorder = LineageRecorder(
            store, lineage, first_delay_s=0.001, longest_delay_s=0.002, look_again_s=look_again_s
        )
        recorder.start()
        started.append(recorder)
        return recorder

    yield start
    for recorder in started:
        await recorder.close()


async def test_what_happened_before_the_start_is_recorded_in_order(store: MemoryRegistry, start: Start) -> None:
    register(store, *range(1200))
    start(lineage := FakeLineage())
    await until_unrecorded_are(store)
    assert lineage.recorded == list(range(1, 1201))


async def test_it_goes_on_when_it_is_woken(store: MemoryRegistry, start: Start) -> None:
    recorder = start(lineage := FakeLineage())
    for content in (1, 2):
        register(store, content)
        recorder.wake()
        await until_unrecorded_are(store)
    store.delete_version("resnet", 1, make_author())
    recorder.wake()
    await until_unrecorded_are(store)
    assert lineage.recorded == [1, 2, 3]


async def test_what_nobody_told_of_is_found_all_the_same(store: MemoryRegistry, start: Start) -> None:
    start(lineage := FakeLineage(), look_again_s=0.01)
    register(store, 1)
    await until_unrecorded_are(store)
    register(store, 2)
    await until_unrecorded_are(store)
    assert lineage.recorded == [1, 2]


@pytest.mark.parametrize("error", [UnavailableError("away"), ValueError("a defect")])
async def test_it_tries_again_after_a_failure(store: MemoryRegistry, start: Start, error: Exception) -> None:
    register(store, 1, 2)
    start(lineage := FakeLineage(failures=3, error=error))
    await until_unrecorded_are(store)
    assert sorted(lineage.recorded) == [1, 2]


async def test_a_store_that_is_too_slow_for_many_is_given_fewer(store: MemoryRegistry, start: Start) -> None:
    class SlowLineage(FakeLineage):
        def record(self, entries: Entries) -> None:
            if len(entries) > 40:
                raise UnavailableError("no answer in time")
            super().record(entries)

    register(store, *range(600))
    start(lineage := SlowLineage())
    await until_unrecorded_are(store)
    assert lineage.recorded == list(range(1, 601))


async def test_one_that_is_refused_holds_up_no_other_and_is_tried_again(store: MemoryRegistry, start: Start) -> None:
    register(store, *range(150))
    lineage = FakeLineage()
    lineage.refused = {1, 120}
    recorder = start(lineage)
    await until_unrecorded_are(store, 1, 120)
    register(store, 150)
    recorder.wake()
    await until_unrecorded_are(store, 1, 120)
    lineage.refused = set()
    await until_unrecorded_are(store)
    assert len(lineage.recorded) == 151


async def test_a_version_that_cannot_be_read_holds_up_no_other(
    store: MemoryRegistry, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store, *range(10))
    read = store.get_versions

    def fail_for_the_third(names: Collection[VersionName]) -> Mapping[VersionName, Version]:
        if VersionName("resnet", 3) in names:
            raise KeyError("a row that this program does not understand")
        return read(names)

    monkeypatch.setattr(store, "get_versions", fail_for_the_third)
    start(FakeLineage())
    await until_unrecorded_are(store, 3)


async def test_what_is_refused_is_logged_once(
    store: MemoryRegistry, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    register(store, 1)
    lineage = FakeLineage()
    lineage.refused = {1}
    recorder = start(lineage)
    for content in (2, 3, 4):
        register(store, content)
        recorder.wake()
        await until_unrecorded_are(store, 1)
    assert [record.message for record in caplog.records] == [
        "the lineage store does not take that resnet@1 was registered; it is tried again later"
    ]


@pytest.mark.parametrize("error", [None, UnavailableError("away"), ValueError("a defect")])
async def test_a_lineage_store_that_was_lost_is_filled_again(
    store: MemoryRegistry, start: Start, error: Exception | None
) -> None:
    register(store, *range(900))
    start(FakeLineage())
    await until_unrecorded_are(store)
    restored = FakeLineage(failures=2 if error else 0, error=error)
    restored.recorded = list(range(1, 100))  # as of a backup
    start(restored)
    await until(lambda: len(restored.recorded) == 900)
    await until_unrecorded_are(store)
    assert sorted(restored.recorded) == list(range(1, 901))


async def test_a_store_that_has_the_newest_facts_is_not_asked_for_all(store: MemoryRegistry, start: Start) -> None:
    register(store, *range(900))
    first = FakeLineage()
    await start(first).close()
    start(first)
    await until_unrecorded_are(store)
    again = FakeLineage()
    again.recorded = first.recorded
    recorder = start(again)
    register(store, 900)
    recorder.wake()
    await until_unrecorded_are(store)
    assert 0 < len(again.asked) < 900


async def test_closing_waits_for_the_record_under_way(store: MemoryRegistry) -> None:
    register(store, 1)
    entered, leave = threading.Event(), threading.Event()

    class SlowLineage(FakeLineage):
        def record(self, entries: Entries) -> None:
            entered.set()
            leave.wait(20)
            super().record(entries)

    recorder = LineageRecorder(store, lineage := SlowLineage())
    recorder.start()
    await asyncio.to_thread(entered.wait, 20)
    closing = asyncio.create_task(recorder.close())
    await asyncio.sleep(0)
    assert not closing.done()
    leave.set()
    await closing
    assert lineage.recorded == [1]
    assert unrecorded(store) == []
