from pathlib import Path

import pytest

from nodeagent import shared_memory
from nodeagent.replica_folder import ReplicaFolder


def test_segments_of_one_replica_are_removed_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "SEGMENTS", tmp_path)
    mine, other = (tmp_path / "replicas" / name for name in ("resnet-1", "resnet-12"))
    segments = [tmp_path / f"{shared_memory.segment_prefix(folder)}region" for folder in (mine, other)]
    for segment in segments:
        segment.touch()
    ReplicaFolder(mine).remove()
    assert [segment.exists() for segment in segments] == [False, True]
    ReplicaFolder(other).forget()
    assert not any(segment.exists() for segment in segments)


def test_where_there_is_no_shared_memory_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "SEGMENTS", tmp_path / "none")
    shared_memory.remove_segments(tmp_path)
