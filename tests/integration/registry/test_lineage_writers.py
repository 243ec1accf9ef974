"""Somebody else who writes to the lineage store's file: ML Metadata does not wait for them, and the recorder does."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from controlplane.domain import Fact, FactKind, Version
from controlplane.registry.lineage import MlMetadataLineage
from controlplane.registry.lineage.config import SqliteFile
from controlplane.registry.lineage.local import LocalLineage
from controlplane.registry.lineage.mlmd import MlmdStore
from controlplane.registry.recorder import LineageRecorder
from modelyard.errors import UnavailableError
from tests.harness.memory_registry import MemoryRegistry
from tests.harness.records import NOW, make_author, make_draft

FACTS = 30
WAIT_S = 60.0


def registered(number: int) -> tuple[Fact, Version]:
    version = Version(number, make_draft("resnet", str(number)), NOW)
    return Fact(number, FactKind.REGISTERED, "resnet", number, make_author(), "", {}), version


_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process_writing_to(path: Path) -> Iterator[None]:
    """A process of its own: SQLite's locks do not hold between two copies of the library in one."""
    command = [sys.executable, "-c", _WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        yield
        writer.stdin.close()


def test_no_fact_is_blamed_for_another_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lineage.db"
    lineage = LocalLineage(SqliteFile(path))
    lineage.record([registered(1)])
    # The other one may be done just then: that the store takes something would say nothing of the fact.
    monkeypatch.setattr(MlmdStore, "touch", lambda *_: None)
    with another_process_writing_to(path), pytest.raises(UnavailableError, match="AbortedError"):
        lineage.record([registered(2)])
    lineage.record([registered(2)])
    assert lineage.has([registered(1)[0], registered(2)[0]]) == {1, 2}


@contextmanager
def busy_writer(path: Path) -> Iterator[threading.Event]:
    """One transaction after another, with short breaks, the first of them until the event is set.

    They come to nothing, so that nobody has to wait for the disk, and readers never. The yard's own writing is in
    another process, its worker.
    """
    stop, go_on, has_begun = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=WAIT_S)) as connection:
            while not stop.wait(0.005):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE MLMDEnv SET schema_version = schema_version")
                has_begun.set()
                go_on.wait(WAIT_S)
                stop.wait(0.01)
                connection.execute("ROLLBACK")

    writing = threading.Thread(target=write)
    writing.start()
    try:
        assert has_begun.wait(WAIT_S)
        yield go_on
    finally:
        stop.set()
        go_on.set()
        writing.join()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.002)


def list_executions(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(name for (name,) in connection.execute("SELECT name FROM Execution"))


async def test_beside_another_writer_every_fact_is_recorded_once_and_none_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, store = tmp_path / "lineage.db", MemoryRegistry()
    caplog.set_level(logging.WARNING, "controlplane.registry.recorder")
    with closing(MlMetadataLineage(SqliteFile(path))) as lineage:
        recorder = LineageRecorder(store, lineage, first_delay_s=0.001, longest_delay_s=0.005)

        def register(content: str) -> None:
            store.create_version(make_draft(content=content), NOW)
            recorder.wake()

        def is_level() -> bool:
            return not store.list_facts(False, 0, 1)

        register("first")
        recorder.start()
        try:
            await until(is_level)  # so that the file has its tables
            with busy_writer(path) as go_on:
                register("second")
                await until(lambda: "AbortedError" in caplog.text)
                go_on.set()
                for content in range(3, FACTS + 1):
                    await until(is_level)
                    register(str(content))
                await until(is_level)
        finally:
            await recorder.close()
        assert lineage.has(store.list_facts(True, 0, 2 * FACTS)) == set(range(1, FACTS + 1))
    assert list_executions(path) == sorted(f"resnet@{number}" for number in range(1, FACTS + 1))
    assert "does not take" not in caplog.text
