"""What an agent finds of MPS that an earlier one has left, and whom it must leave alone."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from nodeagent import replica_events as events
from nodeagent.devices.mps_access import MpsAccess
from nodeagent.devices.mps_daemon import MpsDaemon, MpsTimes
from nodeagent.devices.mps_folders import choose_folders
from nodeagent.devices.mps_state import MpsLimits
from nodeagent.replica_folder import ReplicaFolder
from nodeagent.replica_spec import GpuShare
from nodeagent.running_server import RunningServer, ServerFacts
from nodeagent.server_process import LaunchPlan, launch
from tests.harness.mps import MpsStub

UUID = "GPU-00000000-0000-0000-0000-000000000001"
# As a program that makes itself a daemon: what leads its session ends, and it goes on.
_OUTLIVES_ITS_LEADER = """
import os, sys, time
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(3600)
"""
# Ends, and leaves a client of the daemon behind.
_LEAVES_A_CLIENT = """
import os, socket, time
reader, writer = os.pipe()
if os.fork():
    os.read(reader, 1)
    os._exit(1)
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["CUDA_MPS_PIPE_DIRECTORY"] + "/control")
connection.sendall(f"client {os.getpid()}\\n".encode())
connection.recv(100)
os.write(writer, b"x")
time.sleep(3600)
"""


@pytest.fixture
def stub(tmp_path: Path, short_temporary: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[MpsStub]:
    stub = MpsStub(tmp_path)
    stub.use(monkeypatch)
    yield stub
    stub.end_daemons()


def make_daemon(stub: MpsStub, tmp_path: Path) -> MpsDaemon:
    """Of another agent on the same data folder, each time."""
    folders = choose_folders(tmp_path / "data", UUID)
    return MpsDaemon(stub.program, UUID, folders, record_of(tmp_path), MpsTimes(start_s=20, answer_s=20))


def record_of(tmp_path: Path) -> Path:
    return tmp_path / f"{UUID}.daemon"


@pytest.fixture
def innocent() -> Iterator[tuple[int, int]]:
    """Pids of a session's leader, which has ended, and of a process that lives on in it."""
    with subprocess.Popen(
        [sys.executable, "-c", _OUTLIVES_ITS_LEADER], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout
        pid = int(leader.stdout.readline())
        leader.wait()
        yield leader.pid, pid
        os.kill(pid, signal.SIGKILL)


async def test_a_session_that_has_the_number_of_a_daemon_of_long_ago_is_left_alone(
    stub: MpsStub, tmp_path: Path, innocent: tuple[int, int]
) -> None:
    leader, pid = innocent
    record_of(tmp_path).write_text(f"{UUID} {leader} 1.0\n")
    daemon = make_daemon(stub, tmp_path)
    assert daemon.adopt()
    await daemon.stop()
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    assert not record_of(tmp_path).exists()


async def test_a_daemon_that_an_agent_started_as_it_was_killed_is_found_without_a_record(
    stub: MpsStub, tmp_path: Path
) -> None:
    first = make_daemon(stub, tmp_path)
    await first.start()
    record_of(tmp_path).unlink()
    heir = make_daemon(stub, tmp_path)
    assert heir.adopt()
    assert heir.pid == first.pid
    await heir.find_trouble()
    await heir.stop()
    assert not first.is_alive()
    assert not first.folders.pipe.exists()


async def test_the_program_that_asks_a_daemon_is_not_taken_for_it(stub: MpsStub, tmp_path: Path) -> None:
    daemon = make_daemon(stub, tmp_path)
    await daemon.start()
    leader = daemon.pid
    record_of(tmp_path).unlink()
    environment = {**os.environ, **stub.environment, "CUDA_MPS_PIPE_DIRECTORY": str(daemon.folders.pipe)}
    asking = await asyncio.create_subprocess_exec(stub.program, stdin=subprocess.PIPE, env=environment)
    heir = make_daemon(stub, tmp_path)
    assert heir.adopt()
    assert heir.pid == leader
    asking.kill()
    await asking.wait()
    await heir.stop()


async def test_sockets_that_no_daemon_has_are_no_daemon(stub: MpsStub, tmp_path: Path) -> None:
    daemon = make_daemon(stub, tmp_path)
    daemon.folders.pipe.mkdir(parents=True)
    assert not daemon.adopt()
    await daemon.start()  # in a folder that is made anew
    await daemon.stop()


async def test_what_a_dead_server_left_on_the_gpu_is_taken_off_it_before_it_is_killed(
    tmp_path: Path, stub: MpsStub
) -> None:
    access = MpsAccess([UUID], tmp_path / "mps", MpsLimits(), MpsTimes(answer_s=20))
    share = GpuShare(UUID, 25, 1 << 30)
    environment = await access.open("r", share, lambda _reason: None)
    folder = ReplicaFolder(tmp_path / "replicas" / "r")
    folder.prepare()
    process = launch(LaunchPlan(folder, lambda _: [sys.executable, "-c", _LEAVES_A_CLIENT], environment, ()))
    told: asyncio.Queue[events.Event] = asyncio.Queue()
    server = RunningServer(
        process,
        folder,
        ServerFacts("127.0.0.1", ""),
        1,
        told.put_nowait,
        explain_exit=lambda _code, _log_tail: "",
        count_oom_kills=lambda: 0,
        take_off_gpu=partial(access.end_client, share, process.identity.pid),
        pulse_interval_s=1.0,
    )
    async with asyncio.timeout(60):
        assert isinstance(await told.get(), events.Exited)
    await server.let_go()
    (terminated,) = stub.commands()
    assert terminated.startswith("terminate_client ")
    access.close("r")
    await access.stop()
    assert not stub.events("client killed without terminate_client")
