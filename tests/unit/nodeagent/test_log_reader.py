"""Which part of a log is sent to whoever asked for it, and when it ends."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from modelyard.errors import FailedPreconditionError, NotFoundError
from modelyard.v1 import agent_pb2
from nodeagent import log_reader
from nodeagent.ended_logs import EndedLogs
from nodeagent.log_reader import read_log
from nodeagent.replica_folder import ReplicaFolder


class Node:
    """One replica, r, that is here until it leaves."""

    def __init__(self, path: Path) -> None:
        self.folder: ReplicaFolder | None = ReplicaFolder(path)
        self.ended = EndedLogs(path.with_name("ended"))

    def find(self, replica_id: str) -> ReplicaFolder | None:
        return self.folder if replica_id == "r" else None

    def start(self, text: str) -> None:
        """Its server, which says this."""
        assert self.folder
        self.folder.prepare()
        self.folder.log.write_text(text)

    def say(self, text: str) -> None:
        assert self.folder
        with self.folder.log.open("a") as file:
            file.write(text)

    def leave(self) -> None:
        assert self.folder
        self.folder.remove()
        self.folder = None

    def read(self, *, tail: int = 0, follow: bool = False, previous: bool = False) -> AsyncGenerator[bytes, None]:
        request = agent_pb2.LogRequest(replica_id="r", tail_lines=tail, follow=follow, previous=previous)
        return read_log(self.find, self.ended.find, request)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(log_reader, "_POLL_S", 0.0)
    return Node(tmp_path / "r")


async def collect(pieces: AsyncGenerator[bytes, None]) -> str:
    return b"".join([piece async for piece in pieces]).decode()


async def test_a_log_is_read_to_where_it_ended_when_it_was_asked_for(node: Node) -> None:
    node.start("one\ntwo\n")
    pieces = node.read()
    assert await anext(pieces) == b"one\ntwo\n"
    node.say("three\n")
    assert await collect(pieces) == ""
    assert await collect(node.read(tail=2)) == "two\nthree\n"


async def test_the_run_before_is_what_was_said_before_the_last_start(node: Node) -> None:
    node.start("crashed\n")
    with pytest.raises(FailedPreconditionError, match="no run before"):
        await collect(node.read(previous=True))
    node.start("well\n")
    assert await collect(node.read(previous=True)) == "crashed\n"


async def test_a_replica_that_was_not_started_says_how_to_wait_for_it(node: Node) -> None:
    with pytest.raises(FailedPreconditionError, match=r"follow the log to wait for it \(-f\)"):
        await collect(node.read())


@pytest.mark.parametrize("follow", [False, True])
async def test_a_replica_that_is_not_here_is_not_found(node: Node, follow: bool) -> None:
    node.leave()
    with pytest.raises(NotFoundError, match="r is not on this node"):
        await collect(node.read(follow=follow))


async def test_what_a_replica_that_failed_said_last_is_read_after_it_is_gone(node: Node) -> None:
    node.start("first\n")
    node.start("why\n")
    assert node.folder
    node.ended.keep(node.folder)
    node.leave()
    assert await collect(node.read()) == "why\n"
    assert await collect(node.read(follow=True, tail=1)) == "why\n"
    assert await collect(node.read(previous=True)) == "first\n"


async def test_a_follower_waits_for_the_start_and_goes_on_over_restarts_until_the_end(node: Node) -> None:
    pieces = node.read(follow=True)
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    assert not waiting.done()
    node.start("one\n")
    assert await waiting == b"one\n"
    node.say("last words")
    node.start("two\n")
    assert await anext(pieces) == b"last words"
    assert await anext(pieces) == b"\n--- the server was started anew ---\n"
    assert await anext(pieces) == b"two\n"
    node.say("bye\n")
    node.leave()
    assert await collect(pieces) == "bye\n--- the replica has stopped ---\n"


async def test_a_follower_begins_with_as_many_lines_as_it_wants(node: Node) -> None:
    node.start("one\ntwo\n")
    pieces = node.read(follow=True, tail=1)
    assert await anext(pieces) == b"two\n"
    await pieces.aclose()


async def test_a_follower_of_a_replica_that_leaves_before_it_starts_comes_to_an_end(node: Node) -> None:
    pieces = node.read(follow=True)
    waiting = asyncio.ensure_future(collect(pieces))
    await asyncio.sleep(0)
    node.leave()
    with pytest.raises(NotFoundError, match="before its server was started"):
        await waiting
