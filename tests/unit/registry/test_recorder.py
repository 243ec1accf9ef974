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


class FailingLineage:
    """Fails as often as it is told; `recorded` has what got through."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.recorded: list[str] = []
        self.failures = failures
        self.error = error or UnavailableError("the lineage store is away")
        self.tries = 0

    def record(self, version: Version) -> None:
        self.tries += 1
        if self.tries <= self.failures:
            raise self.error
        self.recorded.append(version.model_id)


Start = Callable[[FailingLineage], LineageRecorder]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlRegistryStore]:
    database = open_database(f"sqlite:///{tmp_path}/yard.db")
    yield SqlRegistryStore(database)
    database.close()


def register(store: SqlRegistryStore, *contents: int) -> None:
    for content in contents:
        facts = VersionDraft("resnet", ModelFormat.ONNX, "", f"{content:064}", 1, Signature((), ()))
        store.create_version(facts, NOW)


async def until_recorded(store: SqlRegistryStore) -> None:
    async with asyncio.timeout(20):
        while store.list_unrecorded_versions(1):
            await asyncio.sleep(0)


@pytest.fixture
async def start(store: SqlRegistryStore) -> AsyncIterator[Start]:
    started = []

    def start(lineage: FailingLineage) -> LineageRecorder:
        recorder = LineageRecorder(store, lineage, first_delay_s=0.001, longest_delay_s=0.002)
        recorder.start()
        started.append(recorder)
        return recorder

    yield start
    for recorder in started:
        await recorder.close()


async def test_what_was_registered_before_the_start_is_recorded(store: SqlRegistryStore, start: Start) -> None:
    register(store, *range(150))
    start(lineage := FailingLineage())
    await until_recorded(store)
    assert lineage.recorded == [f"resnet@{number}" for number in range(1, 151)]


async def test_it_goes_on_when_it_is_woken(store: SqlRegistryStore, start: Start) -> None:
    recorder = start(lineage := FailingLineage())
    for content in (1, 2):
        register(store, content)
        recorder.wake()
        await until_recorded(store)
    assert lineage.recorded == ["resnet@1", "resnet@2"]


@pytest.mark.parametrize("error", [UnavailableError("away"), ValueError("a defect")])
async def test_it_tries_again_after_a_failure(store: SqlRegistryStore, start: Start, error: Exception) -> None:
    register(store, 1, 2)
    start(lineage := FailingLineage(failures=3, error=error))
    await until_recorded(store)
    assert lineage.recorded == ["resnet@1", "resnet@2"]


async def test_closing_waits_for_the_record_under_way(store: SqlRegistryStore) -> None:
    register(store, 1)
    entered, leave = threading.Event(), threading.Event()

    class SlowLineage(FailingLineage):
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
    assert store.list_unrecorded_versions(1) == []
