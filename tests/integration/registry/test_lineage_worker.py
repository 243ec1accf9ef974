"""ML Metadata in processes of its own: what happens to them, or to their store, never stops the controller."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import Fact, FactKind, Version
from controlplane.registry.lineage import MlMetadataLineage, lineage_config
from controlplane.registry.lineage.config import SqliteFile
from controlplane.registry.lineage.journal import DEADLINE_S
from controlplane.registry.opening import open_registry
from modelyard.errors import FailedPreconditionError, InternalError, UnavailableError
from tests.harness.programs import is_gone, wait_for
from tests.harness.records import NOW, make_author, make_draft
from tests.harness.silent_server import silent_server

Open = Callable[..., MlMetadataLineage]


def registered(number: int, content: str = "a") -> tuple[Fact, Version]:
    version = Version(number, make_draft("resnet", f"{content}{number}"), NOW)
    return Fact(number, FactKind.REGISTERED, "resnet", number, make_author(after_s=min(number, 9)), "", {}), version


@pytest.fixture
def open_lineage(tmp_path: Path) -> Iterator[Open]:
    opened: list[MlMetadataLineage] = []

    def open_lineage(url: str = "", deadline_s: float = 60.0) -> MlMetadataLineage:
        opened.append(MlMetadataLineage(lineage_config(url, "", tmp_path), deadline_s=deadline_s))
        return opened[-1]

    yield open_lineage
    for lineage in opened:
        lineage.close()


@pytest.fixture
def lineage(open_lineage: Open) -> MlMetadataLineage:
    return open_lineage()


async def count_turns_during(work: asyncio.Future[Any]) -> int:
    """How often the event loop came round before `work` was done."""
    turns = 0
    while not work.done():
        await asyncio.sleep(0.01)
        turns += 1
    return turns


async def test_a_store_that_does_not_answer_leaves_the_event_loop_free(open_lineage: Open) -> None:
    with silent_server() as server:
        lineage = open_lineage(f"postgresql+psycopg://ann@127.0.0.1:{server.port}/yard", deadline_s=8.0)
        reading = asyncio.wrap_future(lineage.submit_read("resnet", 1))
        recording = asyncio.ensure_future(asyncio.to_thread(lineage.record, [registered(1)]))
        both = asyncio.gather(reading, recording, return_exceptions=True)
        # With the interpreter's lock held it would be a handful.
        assert await count_turns_during(both) > 50
        for error in both.result():
            assert isinstance(error, UnavailableError) and "gave no answer in 8 s" in error.message
    assert lineage.reading_pid is lineage.recording_pid is None


async def test_closing_does_not_wait_for_a_store_that_does_not_answer(open_lineage: Open) -> None:
    with silent_server() as server:
        lineage = open_lineage(f"postgresql+psycopg://ann@127.0.0.1:{server.port}/yard", deadline_s=3600)
        reading = lineage.submit_read("resnet", 1)
        later = lineage.submit_read("resnet", 2)
        recording = asyncio.ensure_future(asyncio.to_thread(lineage.record, [registered(1)]))
        while None in (lineage.reading_pid, lineage.recording_pid):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(lineage.close)
        assert isinstance(reading.exception(), UnavailableError) and later.cancelled()
        with pytest.raises(UnavailableError):
            await recording
    with pytest.raises(UnavailableError, match="the controller is stopping"):
        lineage.record([registered(1)])


async def test_a_registry_closes_while_its_lineage_store_does_not_answer(tmp_path: Path) -> None:
    with silent_server() as server:
        url = f"postgresql+psycopg://ann@127.0.0.1:{server.port}/yard"
        registry = open_registry(tmp_path, now=lambda: NOW, lineage_url=url)
        registry.store.create_version(make_draft(), NOW)
        await registry.start()
        while not server.has_connections():
            await asyncio.sleep(0.01)
        async with asyncio.timeout(DEADLINE_S / 2):
            await registry.close()
    assert registry.lineage.recording_pid is None


def test_a_process_that_hangs_is_killed_and_replaced(
    lineage: MlMetadataLineage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage.record([registered(1)])
    pid = lineage.recording_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    # For this request alone: the others start a process first, which may take as long.
    with monkeypatch.context() as patch, pytest.raises(UnavailableError, match="gave no answer in 2 s"):
        patch.setattr(lineage._recording, "_deadline_s", 2.0)
        lineage.record([registered(2)])
    assert is_gone(pid)
    lineage.record([registered(2)])
    assert lineage.has([registered(1)[0], registered(2)[0]]) == {1, 2}
    assert lineage.recording_pid not in (None, pid)


def test_a_process_that_was_killed_is_replaced(lineage: MlMetadataLineage) -> None:
    lineage.record([registered(1)])
    pid = lineage.recording_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_gone(pid), "the end of the process")
    assert lineage.has([registered(1)[0]]) == {1}


def test_one_that_is_killed_at_work_is_told(lineage: MlMetadataLineage) -> None:
    lineage.record([registered(1)])
    pid = lineage.recording_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    errors: list[Exception] = []

    def record() -> None:
        try:
            lineage.record([registered(2)])
        except UnavailableError as error:
            errors.append(error)

    recording = threading.Thread(target=record)
    recording.start()
    os.kill(pid, signal.SIGKILL)
    recording.join()
    assert [str(error) for error in errors] in (
        [],  # it was killed ahead of the request
        ["the lineage store ended with status -9 in the middle of a request; the next one starts it again"],
    )
    lineage.record([registered(2)])


def test_errors_come_through(lineage: MlMetadataLineage) -> None:
    lineage.record([registered(1)])
    with pytest.raises(FailedPreconditionError, match="another resnet@1"):
        lineage.record([registered(1, "b")])
    with pytest.raises(InternalError, match="log has the details") as caught:
        lineage.record([registered(2**63)])
    assert "out of range" in caught.value.__notes__[0]
    assert lineage.has([registered(1)[0]]) == {1}


def test_what_it_says_is_in_the_log(
    lineage: MlMetadataLineage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")  # which tells of each import, to standard error
    with caplog.at_level(logging.WARNING):
        lineage.record([registered(1)])
        lineage.close()
    assert any("lineage worker: import" in record.message for record in caplog.records)


def test_nothing_is_left_behind(lineage: MlMetadataLineage) -> None:
    lineage.record([registered(1)])
    lineage.read("resnet", 1)
    pids = [pid for pid in (lineage.recording_pid, lineage.reading_pid) if pid]
    threads = threading.active_count()
    lineage.close()
    lineage.close()  # as often as one likes
    assert len(pids) == 2 and all(is_gone(pid) for pid in pids)
    assert threading.active_count() < threads


_CONTROLLER = """
import sys, threading
from pathlib import Path
from typing import Any
from controlplane.registry.lineage import MlMetadataLineage, lineage_config
lineage = MlMetadataLineage(lineage_config(sys.argv[1], "", Path(sys.argv[2])), deadline_s=float(sys.argv[3]))
def ask():
    lineage.read("resnet", 1)
asking = threading.Thread(target=ask)
asking.start()
if sys.argv[1] == "":
    asking.join()
while lineage.reading_pid is None:
    pass
print(lineage.reading_pid, flush=True)
sys.stdin.read()
"""


def kill_controller(*arguments: str, is_busy: Callable[[], bool] = lambda: True) -> int:
    """Kills a process that reads from a lineage store once `is_busy`, and returns the number of its worker."""
    command: Sequence[str] = (sys.executable, "-c", _CONTROLLER, *arguments)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as controller:
        assert controller.stdout is not None
        worker = int(controller.stdout.readline())
        wait_for(is_busy, "the question to the database")
        controller.kill()
    return worker


def test_a_controller_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    worker = kill_controller("", str(tmp_path), "60")
    wait_for(lambda: is_gone(worker), "the end of the worker")


def test_a_killed_controller_leaves_no_process_that_waits_for_a_database(tmp_path: Path) -> None:
    with silent_server() as server:
        url = f"postgresql+psycopg://ann@127.0.0.1:{server.port}/yard"
        # The worker has so long to start and to connect, and ends after twice that.
        worker = kill_controller(url, str(tmp_path), "10", is_busy=server.has_connections)
        wait_for(lambda: is_gone(worker), "the end of the worker", 60)


def test_the_controller_itself_never_loads_ml_metadata() -> None:
    code = "import sys, controlplane.main; print('ml_metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_a_file_that_a_url_names_is_used(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "l.db"
    config = lineage_config(f"sqlite:///{path}", "", tmp_path)
    assert config == SqliteFile(path)
    with closing(MlMetadataLineage(config)) as lineage:
        lineage.record([registered(1)])
    assert path.exists() and not (tmp_path / "lineage.db").exists()
