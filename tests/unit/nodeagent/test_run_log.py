"""A log is read whole while a server writes it and the agent trims it."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from nodeagent.replica_folder import ReplicaFolder
from nodeagent.run_log import RunLog

LIMIT = 100


@pytest.fixture
def folder(tmp_path: Path) -> ReplicaFolder:
    folder = ReplicaFolder(tmp_path / "r1")
    folder.prepare()
    return folder


@pytest.fixture
def server(folder: ReplicaFolder) -> Iterator[BinaryIO]:
    with folder.log.open("ab", buffering=0) as file:
        yield file


def read_all(run: RunLog) -> bytes:
    return b"".join(iter(run.read, b""))


@pytest.mark.parametrize(
    ("said", "lines", "tail"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\n\n", 2, b"b\n\n"),
        (b"a\nb\n", 9, b"a\nb\n"),
        (b"a\nb\n", 0, b"a\nb\n"),
        (b"\n", 1, b"\n"),
        (b"", 3, b""),
        (b"\xff\x00\n\xfe", 1, b"\xfe"),
    ],
)
def test_the_last_lines_are_those_that_a_person_would_count(
    folder: ReplicaFolder, server: BinaryIO, said: bytes, lines: int, tail: bytes
) -> None:
    server.write(said)
    with RunLog(folder) as run:
        assert run.go_to_last(lines) == len(tail)
        assert read_all(run) == tail


def test_the_last_lines_of_a_long_log_are_found(folder: ReplicaFolder, server: BinaryIO) -> None:
    server.write(b"x" * 200_000 + b"\n" + b"".join(b"%d\n" % number for number in range(50_000)))
    with RunLog(folder) as run:
        run.go_to_last(40_000)
        assert read_all(run) == b"".join(b"%d\n" % number for number in range(10_000, 50_000))
        run.go_to_last(50_001)
        assert read_all(run).startswith(b"x" * 200_000 + b"\n0\n")


def test_last_lines_reach_into_what_was_trimmed(folder: ReplicaFolder, server: BinaryIO) -> None:
    server.write(b"lost\n" * 100 + b"kept\n" * 20)
    folder.trim_log(LIMIT)
    server.write(b"new\n")
    with RunLog(folder) as run:
        run.go_to_last(3)
        assert read_all(run) == b"kept\nkept\nnew\n"
        run.go_to_last(0)
        assert read_all(run) == b"kept\n" * 20 + b"new\n"


def test_a_reader_loses_nothing_when_the_log_is_trimmed(folder: ReplicaFolder, server: BinaryIO) -> None:
    chance, said, read = random.Random(1), b"", b""
    with RunLog(folder) as run:
        for number in range(300):
            line = b"%d %s\n" % (number, b"x" * chance.randrange(30))
            server.write(line)
            said += line
            if chance.random() < 0.3:
                folder.trim_log(LIMIT)
            if chance.random() < 0.7:
                read += run.read()
        read += read_all(run)
    assert read == said


def test_a_reader_that_is_too_slow_is_told_how_much_it_missed(folder: ReplicaFolder, server: BinaryIO) -> None:
    with RunLog(folder) as run:
        server.write(b"a" * 200)
        folder.trim_log(LIMIT)
        server.write(b"b" * 250)
        folder.trim_log(LIMIT)
        assert run.read() == b"--- 350 bytes are missing: the log was trimmed before they were read ---\n"
        assert read_all(run) == b"b" * 100


def test_a_log_that_somebody_else_empties_is_read_on(folder: ReplicaFolder, server: BinaryIO) -> None:
    server.write(b"before")
    with RunLog(folder) as run:
        assert run.read() == b"before"
        folder.log.write_bytes(b"")
        assert run.read() == b"\n--- the log was emptied by somebody else ---\n"
        server.write(b"after")
        assert run.read() == b"after"


def test_a_run_is_read_to_its_end_after_the_next_has_begun(folder: ReplicaFolder, server: BinaryIO) -> None:
    with RunLog(folder) as run:
        server.write(b"last words")
        folder.prepare()
        folder.log.write_bytes(b"x" * 500)
        folder.trim_log(LIMIT)  # which concerns the next run alone
        assert not run.is_of_newest_run()
        assert read_all(run) == b"last words"
    with RunLog(folder, previous=True) as run:
        assert run.go_to_last(0) == len(b"last words")
        assert read_all(run) == b"last words"


def test_a_run_can_be_read_after_its_folder_is_gone(folder: ReplicaFolder, server: BinaryIO) -> None:
    server.write(b"last words")
    with RunLog(folder) as run:
        folder.remove()
        assert read_all(run) == b"last words"
        assert not run.is_of_newest_run()


@pytest.mark.parametrize("previous", [False, True])
def test_where_nothing_was_said_there_is_no_log(folder: ReplicaFolder, previous: bool) -> None:
    with pytest.raises(FileNotFoundError):
        RunLog(folder, previous=previous)
