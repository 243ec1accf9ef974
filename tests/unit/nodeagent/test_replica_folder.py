import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.processes import ProcessIdentity
from nodeagent.replica_folder import ReadyLine, ReplicaFolder, RunRecord
from nodeagent.replica_spec import ReplicaSpec, TensorSpec

SPEC = ReplicaSpec(
    replica_id="r1",
    model="resnet",
    version=3,
    format="MODEL_FORMAT_ONNX",
    sha256="ab" * 32,
    size_bytes=10,
    inputs=(TensorSpec("x", "FP32", (-1, 4)),),
    cores=(0, 1),
    threads=2,
    memory_bytes=100,
)
RECORD = RunRecord(SPEC, ProcessIdentity(123, 456.789), "127.0.0.1", 4000, 2, 0.004, "token")


@pytest.fixture
def folder(tmp_path: Path) -> ReplicaFolder:
    folder = ReplicaFolder(tmp_path / "r1")
    folder.prepare()
    return folder


def test_a_record_is_read_back_as_it_was(folder: ReplicaFolder) -> None:
    assert folder.load() is None
    folder.store(RECORD)
    assert folder.load() == RECORD
    assert folder.path.stat().st_mode & 0o77 == 0  # it has a secret
    folder.forget()
    assert folder.load() is None


def test_the_record_of_an_agent_that_knew_no_folders_is_of_the_same_replica(folder: ReplicaFolder) -> None:
    folder.store(RECORD)
    record = json.loads((folder.path / "state.json").read_text())
    del record["spec"]["packaging"], record["spec"]["output_names"]
    (folder.path / "state.json").write_text(json.dumps(record))
    assert folder.load() == RECORD


def test_a_replica_of_an_agent_that_watched_no_memory_is_held_to_none(folder: ReplicaFolder) -> None:
    folder.store(replace(RECORD, spec=replace(SPEC, is_memory_estimated=False)))
    record = json.loads((folder.path / "state.json").read_text())
    assert record["spec"].pop("is_memory_estimated") is False
    (folder.path / "state.json").write_text(json.dumps(record))
    loaded = folder.load()
    assert loaded is not None
    assert loaded.spec.is_memory_estimated


@pytest.mark.parametrize("text", ["", "{", "[]", '{"spec": {}}', "null"])
def test_a_record_that_cannot_be_read_is_none(folder: ReplicaFolder, text: str) -> None:
    (folder.path / "state.json").write_text(text)
    assert folder.load() is None


def test_the_port_is_known_when_the_whole_line_is_there(folder: ReplicaFolder) -> None:
    assert folder.read_ready() is None
    for text, port in [("", 0), ('{"program": "modelserver", "port": 40', 0), ('{"port": 4000}\n', 4000), ("x\n", 0)]:
        folder.ready.write_text(text)
        assert folder.read_ready() == (ReadyLine(port) if port else None)


def test_the_last_words_are_the_last_line_with_something_in_it(folder: ReplicaFolder) -> None:
    assert folder.last_log_line() == ""
    folder.log.write_bytes(b"noise\n" * 100_000 + b"cannot load \xff: not a model\n\n  \n")
    assert folder.last_log_line() == "cannot load \ufffd: not a model"


def test_a_log_stays_within_its_limit_while_the_server_writes_on(folder: ReplicaFolder) -> None:
    with folder.log.open("ab", buffering=0) as server:
        server.write(b"a" * 90)
        folder.trim_log(100)
        assert folder.log.stat().st_size == 90
        server.write(b"b" * 30)
        folder.trim_log(100)
        server.write(b"c" * 10)
    assert folder.log.read_bytes() == b"c" * 10
    assert (folder.path / "log.1").read_bytes() == b"a" * 70 + b"b" * 30


def test_each_launch_begins_a_new_log_and_keeps_the_one_before(folder: ReplicaFolder) -> None:
    folder.log.write_text("crashed")
    folder.ready.write_text('{"port": 4000}\n')
    folder.store(RECORD)
    folder.prepare()
    assert (folder.read_ready(), folder.load(), folder.last_log_line()) == (None, None, "")
    assert (folder.path / "log.before").read_text() == "crashed"


def test_a_full_disk_does_not_let_a_log_grow(folder: ReplicaFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", no_space)
    folder.log.write_bytes(b"a" * 200)
    with pytest.raises(OSError, match="No space"):
        folder.trim_log(100)
    assert folder.log.stat().st_size == 0


def test_a_record_of_another_replica_is_none(folder: ReplicaFolder) -> None:
    folder.store(replace(RECORD, spec=replace(SPEC, replica_id="r2")))
    assert folder.load() is None


def test_a_record_that_cannot_be_removed_holds_nothing_up(
    folder: ReplicaFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    folder.store(RECORD)
    monkeypatch.setattr(Path, "unlink", refuse)
    folder.forget()


def test_other_users_cannot_read_logs(folder: ReplicaFolder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700
