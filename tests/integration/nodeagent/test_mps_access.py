"""Shares of GPUs as the agent's own code opens and closes them, with a stand-in for NVIDIA's program."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import FailedPreconditionError, UnavailableError
from nodeagent.devices import mps_service
from nodeagent.devices.mps_access import MpsAccess
from nodeagent.devices.mps_daemon import MpsDaemon, MpsTimes
from nodeagent.devices.mps_state import MpsLimits
from nodeagent.replica_spec import GpuShare
from tests.harness.mps import MpsStub, find_session

UUID, OTHER = (f"GPU-00000000-0000-0000-0000-00000000000{number}" for number in (1, 2))
QUARTER, WHOLE = GpuShare(UUID, 25, 1 << 30), GpuShare(UUID, 100, 4 << 30)
# Joins MPS as a client, and starts another that does so as well, in its session.
_CLIENTS = """
import os, socket, sys, time
os.fork()
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["CUDA_MPS_PIPE_DIRECTORY"] + "/control")
connection.sendall(f"client {os.getpid()}\\n".encode())
connection.recv(100)
os.write(1, f"{os.getpid()}\\n".encode())  # at once: the other writes, too
time.sleep(3600)
"""

Open = Callable[..., MpsAccess]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MpsStub]:
    stub = MpsStub(tmp_path)
    stub.use(monkeypatch)
    monkeypatch.setattr(
        mps_service, "_END_CLIENT_S", 60.0
    )  # each command starts a program, and none of them is to fail
    yield stub
    stub.end_daemons()


@pytest.fixture
async def open_access(stub: MpsStub, tmp_path: Path) -> AsyncIterator[Open]:
    """The access of another agent on the same data folder, each time."""
    opened: list[MpsAccess] = []

    def make(*gpus: str, answer_s: float = 20.0, **limits: Any) -> MpsAccess:
        times = MpsTimes(start_s=20, answer_s=answer_s)
        opened.append(MpsAccess(gpus or [UUID], tmp_path / "mps", MpsLimits(check_interval_s=0.2, **limits), times))
        return opened[-1]

    yield make
    for access in opened:
        await access.let_go()


class Lost:
    """What a replica was told."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, reason: str) -> None:
        self.reasons.append(reason)


async def wait_until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.05)
    assert condition(), what


def start_clients(environment: dict[str, str]) -> tuple["subprocess.Popen[str]", list[int]]:
    """A process and its child, in a session of their own, and their pids."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CLIENTS],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    return process, [int(process.stdout.readline()) for _ in range(2)]


async def test_all_that_a_replica_started_is_taken_off_the_gpu(open_access: Open, stub: MpsStub) -> None:
    access = open_access()
    environment = await access.open("r", QUARTER, Lost())
    process, pids = await asyncio.to_thread(start_clients, dict(environment))
    with process:
        await access.end_client(QUARTER, process.pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert {command.split()[-1] for command in stub.commands()} == {str(pid) for pid in pids}
    assert not stub.events("client killed without terminate_client")


async def test_who_leaves_no_word_of_its_gpu_is_looked_for_on_all(open_access: Open, stub: MpsStub) -> None:
    access = open_access(UUID, OTHER)
    await access.open("a", QUARTER, Lost())
    environment = await access.open("b", GpuShare(OTHER, 50, 1 << 30), Lost())
    process, pids = await asyncio.to_thread(start_clients, dict(environment))
    with process:
        await access.end_client(None, process.pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert len(stub.commands()) == 2
    assert not stub.events("client killed without terminate_client")


async def test_a_daemon_that_hangs_holds_up_the_end_of_a_client_for_seconds_only(
    open_access: Open, stub: MpsStub
) -> None:
    access = open_access(silent_after=1000, answer_s=4.0)
    await access.open("r", QUARTER, Lost())
    stub.play("hang")
    async with asyncio.timeout(60):  # the daemon never answers
        await access.end_client(QUARTER, os.getpid())


async def test_whoever_gets_the_whole_gpu_waits_for_the_end_of_an_idle_daemon(open_access: Open, stub: MpsStub) -> None:
    access = open_access()
    await access.open("r", QUARTER, Lost())
    access.close("r")
    await access.open("whole", WHOLE, Lost())
    assert stub.commands() == ["quit"]
    await access.open("r", QUARTER, Lost())  # and the next share starts one again
    assert len(stub.events("started")) == 2


async def test_a_whole_gpu_leaves_a_daemon_with_clients_alone(open_access: Open, stub: MpsStub) -> None:
    access = open_access()
    await access.open("r", QUARTER, Lost())
    await access.open("whole", WHOLE, Lost())
    assert stub.commands() == []


async def test_without_clients_the_daemon_ends_after_a_while(open_access: Open, stub: MpsStub) -> None:
    access = open_access(idle_s=0.5)
    await access.open("r", QUARTER, Lost())
    access.close("r")
    await wait_until(lambda: stub.commands() == ["quit"], "its end")


async def test_while_a_broken_daemon_is_drained_a_share_is_refused_with_the_reason(
    open_access: Open, stub: MpsStub
) -> None:
    access, lost = open_access(), Lost()
    await access.open("r", QUARTER, lost)
    os.kill(stub.events("started")[0]["pid"], signal.SIGKILL)
    await wait_until(lambda: lost.reasons, "the word")
    with pytest.raises(UnavailableError, match="cannot be shared now: its MPS daemon has ended, killed by signal 9"):
        await access.open("s", QUARTER, Lost())
    assert len(stub.events("started")) == 1
    access.close("r")
    await wait_until(lambda: not list((stub.folder.parent / "mps").glob("*.daemon")), "its end")
    async with asyncio.timeout(30):
        while not await can_open(access, "s"):  # in the first pause
            await asyncio.sleep(0.05)
    assert len(stub.events("started")) == 2


async def can_open(access: MpsAccess, replica_id: str) -> bool:
    with suppress(UnavailableError):
        await access.open(replica_id, QUARTER, Lost())
        return True
    return False


async def test_no_replica_starts_on_a_daemon_that_has_just_ended(open_access: Open, stub: MpsStub) -> None:
    access, lost = open_access(), Lost()
    await access.open("r", QUARTER, lost)
    os.kill(stub.events("started")[0]["pid"], signal.SIGKILL)
    await wait_until(lambda: not find_session(stub.events("started")[0]["pid"]), "its end")
    with pytest.raises(UnavailableError, match="its MPS daemon has ended"):
        await access.open("s", QUARTER, Lost())
    assert lost.reasons


async def test_a_replica_that_was_cut_off_while_it_waited_holds_nothing(open_access: Open, stub: MpsStub) -> None:
    access = open_access(idle_s=0.5)
    opening = asyncio.create_task(access.open("r", QUARTER, Lost()))
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait({opening})
    access.close("r")
    await wait_until(lambda: stub.commands() == ["quit"], "the daemon's end")


async def test_the_next_agent_goes_on_with_the_daemon_and_tells_those_it_finds(
    open_access: Open, stub: MpsStub
) -> None:
    first = open_access()
    environment = await first.open("r", QUARTER, Lost())
    await first.let_go()
    second, lost = open_access(), Lost()
    second.adopt()
    second.resume("r", QUARTER, lost)
    assert await second.open("s", QUARTER, Lost()) == environment
    assert len(stub.events("started")) == 1
    os.kill(stub.events("started")[0]["pid"], signal.SIGKILL)
    await wait_until(lambda: lost.reasons == ["its MPS daemon has ended"], "the word")


async def test_the_daemon_of_a_gpu_that_is_offered_no_more_ends_when_its_replicas_have(
    open_access: Open, stub: MpsStub
) -> None:
    first = open_access()
    await first.open("r", QUARTER, Lost())
    await first.let_go()
    second = open_access(OTHER, idle_s=0.5)
    second.adopt()
    second.resume("r", QUARTER, Lost())
    with pytest.raises(FailedPreconditionError, match="is not offered"):
        await second.open("s", QUARTER, Lost())
    assert stub.commands() == []
    second.close("r")
    await wait_until(lambda: stub.commands() == ["quit"], "its end")


async def test_a_replica_with_a_share_of_a_gpu_that_nothing_is_known_of_is_told_to_leave(open_access: Open) -> None:
    access, lost = open_access(OTHER), Lost()
    access.resume("r", QUARTER, lost)
    assert "not offered here any more" in lost.reasons[0]


async def test_a_replica_with_a_whole_gpu_serves_on_while_the_driver_tells_the_agent_of_none(open_access: Open) -> None:
    access, lost = open_access(OTHER), Lost()
    access.resume("r", WHOLE, lost)
    assert lost.reasons == []


async def test_a_look_that_this_host_itself_prevents_is_not_the_last_one(
    open_access: Open, stub: MpsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, lost = open_access(), Lost()
    await access.open("r", QUARTER, lost)
    with monkeypatch.context() as patch:
        looks: list[MpsDaemon] = []

        async def fail(daemon: MpsDaemon) -> None:
            looks.append(daemon)
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(MpsDaemon, "find_trouble", fail)
        await wait_until(lambda: looks, "a look")
    os.kill(stub.events("started")[0]["pid"], signal.SIGKILL)
    await wait_until(lambda: lost.reasons, "the word")
