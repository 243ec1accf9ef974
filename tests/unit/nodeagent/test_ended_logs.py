"""What a replica that failed said last can be read for a while after it is gone."""

import os
import time
from pathlib import Path

import pytest

from nodeagent import ended_logs
from nodeagent.ended_logs import EndedLogs
from nodeagent.replica_folder import ReplicaFolder


@pytest.fixture
def ended(tmp_path: Path) -> EndedLogs:
    return EndedLogs(tmp_path / "ended")


def make_replica(tmp_path: Path, name: str = "r1") -> ReplicaFolder:
    folder = ReplicaFolder(tmp_path / "replicas" / name)
    folder.prepare()
    folder.log.write_text("first\n")
    folder.prepare()
    folder.log.write_text("last\n")
    return folder


def test_the_last_two_runs_are_kept(ended: EndedLogs, tmp_path: Path) -> None:
    replica = make_replica(tmp_path)
    assert ended.find("r1") is None
    ended.keep(replica)
    replica.remove()
    kept = ended.find("r1")
    assert kept
    assert (kept.log.read_text(), kept.log_before.read_text()) == ("last\n", "first\n")
    assert kept.path.stat().st_mode & 0o777 == 0o700


def test_of_a_long_log_its_end_is_kept(ended: EndedLogs, tmp_path: Path) -> None:
    replica = make_replica(tmp_path)
    replica.log.write_bytes(b"a" * (1 << 20) + b"why")
    ended.keep(replica)
    kept = ended.find("r1")
    assert kept
    assert kept.log.stat().st_size == 256 << 10
    assert kept.log.read_bytes().endswith(b"why")


def test_so_many_are_kept_and_for_so_long(ended: EndedLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_logs, "_MOST", 3)
    for number in range(5):
        ended.keep(make_replica(tmp_path, f"r{number}"))
        os.utime(tmp_path / "ended" / f"r{number}", (number, time.time() - 100 + number))
    assert [bool(ended.find(f"r{number}")) for number in range(5)] == [False, False, True, True, True]
    ended.remove_old(time.time() + 86400)
    assert not list((tmp_path / "ended").iterdir())


def test_what_another_replica_that_ends_removes_at_the_same_time_is_no_trouble(
    ended: EndedLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EndedLogs, "_list", lambda self: [tmp_path / "ended" / name for name in ("gone", "r1")])
    ended.keep(make_replica(tmp_path))
    assert ended.find("r1")


def test_one_that_never_started_leaves_nothing(ended: EndedLogs, tmp_path: Path) -> None:
    ended.keep(ReplicaFolder(tmp_path / "replicas" / "r1"))
    assert ended.find("r1") is None


def test_a_disk_that_refuses_holds_nothing_up(ended: EndedLogs, tmp_path: Path) -> None:
    (tmp_path / "ended").write_text("in the way")
    ended.keep(make_replica(tmp_path))
    assert ended.find("r1") is None


@pytest.mark.parametrize("name", ["..", "../replicas/r1", "", "."])
def test_nothing_outside_its_folder_is_found(ended: EndedLogs, tmp_path: Path, name: str) -> None:
    make_replica(tmp_path)
    (tmp_path / "log").write_text("not a replica's")
    ended.keep(make_replica(tmp_path, "r2"))
    assert ended.find(name) is None
