"""Every version reaches the lineage store, once, whatever fails in between."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlplane.domain import ModelFormat, Signature, Version, VersionDraft
from controlplane.registry.recorder import LineageRecorder
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from modelyard.errors import UnavailableError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeLineage:
    """Fails as often as it is told, and always for those in `refused`; `recorded` has what got through."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.recorded: list[str] = []
        self.refused: set[str] = set()
        self.failures = failures
        self.error = error or UnavailableError("the lineage store is away")

    def has(self, version: Version) -> bool:
        return version.model_id in self.recorded

    def record(self, version: Version) -> None:
        if version.model_id in self.refused:
            raise ValueError("a value that this store does not take")
        if self.failures:
            self.failures -= 1
            raise self.error
        self.recorded.append(version.model_id)


Start = Callable[[FakeLineage], LineageRecorder]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlRegistryStore]:
    database = open_database(f"sqlite:///{tmp_path}/yard.db")
    yield SqlRegistryStore(database)
    database.close()


def register(store: SqlRegistryStore, *contents: int) -> None:
    for content in contents:
        facts = VersionDraft("resnet", ModelFormat.ONNX, "", f"{content:064}", 1, Signature((), ()))
        store.create_version(facts, NOW)


def unrecorded(store: SqlRegistryStore) -> list[str]:
    return [version.model_id for version in store.list_for_lineage(False, ("", 0), 1000)]


async def until_unrecorded_are(store: SqlRegistryStore, *expected: str) -> None:
    async with asyncio.timeout(20):
        while unrecorded(store) != list(expected):
            await asyncio.sleep(0)


@pytest.fixture
async def start(store: SqlRegistryStore) -> AsyncIterator[Start]:
    started = []

    def start(lineage: FakeLineage) -> LineageRecorder:
        recorder = LineageRecorder(store, lineage, first_delay_s=0.001, longest_delay_s=0.002)
        recorder.start()
        started.append(recorder)
        return recorder

    yield start
    for recorder in started:
        await recorder.close()


async def test_what_was_registered_before_the_start_is_recorded(store: SqlRegistryStore, start: Start) -> None:
    register(store, *range(150))
    start(lineage := FakeLineage())
    await until_unrecorded_are(store)
    assert lineage.recorded == [f"resnet@{number}" for number in range(1, 151)]


async def test_it_goes_on_when_it_is_woken(store: SqlRegistryStore, start: Start) -> None:
    recorder = start(lineage := FakeLineage())
    for content in (1, 2):
        register(store, content)
        recorder.wake()
        await until_unrecorded_are(store)
    assert lineage.recorded == ["resnet@1", "resnet@2"]


@pytest.mark.parametrize("error", [UnavailableError("away"), ValueError("a defect")])
async def test_it_tries_again_after_a_failure(store: SqlRegistryStore, start: Start, error: Exception) -> None:
    register(store, 1, 2)
    start(lineage := FakeLineage(failures=3, error=error))
    await until_unrecorded_are(store)
    assert sorted(lineage.recorded) == ["resnet@1", "resnet@2"]


async def test_one_that_is_refused_holds_up_no_other_and_is_tried_again(store: SqlRegistryStore, start: Start) -> None:
    register(store, *range(150))
    lineage = FakeLineage()
    lineage.refused = {"resnet@1", "resnet@120"}
    recorder = start(lineage)
    await until_unrecorded_are(store, "resnet@1", "resnet@120")
    register(store, 150)
    recorder.wake()
    await until_unrecorded_are(store, "resnet@1", "resnet@120")
    lineage.refused = set()
    await until_unrecorded_are(store)
    assert len(lineage.recorded) == 151


@pytest.mark.parametrize("error", [None, UnavailableError("away"), ValueError("a defect")])
async def test_a_lineage_store_that_was_lost_is_filled_again(
    store: SqlRegistryStore, start: Start, error: Exception | None
) -> None:
    register(store, *range(150))
    start(FakeLineage())
    await until_unrecorded_are(store)
    restored = FakeLineage(failures=2 if error else 0, error=error)
    restored.recorded = [f"resnet@{number}" for number in range(1, 100, 2)]
    start(restored)
    async with asyncio.timeout(20):
        while len(restored.recorded) < 150:
            await asyncio.sleep(0)
    assert sorted(restored.recorded) == sorted(f"resnet@{number}" for number in range(1, 151))
    await until_unrecorded_are(store)


async def test_closing_waits_for_the_record_under_way(store: SqlRegistryStore) -> None:
    register(store, 1)
    entered, leave = threading.Event(), threading.Event()

    class SlowLineage(FakeLineage):
        def record(self, version: Version) -> None:
            entered.set()
            leave.wait(20)
            super().record(version)

    recorder = LineageRecorder(store, lineage := SlowLineage())
    recorder.start()
    await asyncio.to_thread(entered.wait, 20)
    closing = asyncio.create_task(recorder.close())
    await asyncio.sleep(0)
    assert not closing.done()
    leave.set()
    await closing
    assert lineage.recorded == ["resnet@1"]
    assert unrecorded(store) == []
