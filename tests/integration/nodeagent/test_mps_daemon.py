"""The agent's side of an MPS daemon, against a stand-in that is strict about commands and their order."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from modelyard.errors import FailedPreconditionError, UnavailableError
from nodeagent.devices.mps_control import MpsSilentError
from nodeagent.devices.mps_daemon import MpsDaemon, MpsTimes
from nodeagent.devices.mps_folders import choose_folders, prepare_folders, remove_pipe
from tests.harness.mps import MpsStub, find_session
from tests.harness.programs import wait_for

UUID = "GPU-00000000-0000-0000-0000-000000000001"
# A client that does nothing but hold its connection.
_CLIENT = """
import os, socket, sys, time
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1] + "/control")
connection.sendall(f"client {os.getpid()}\\n".encode())
print(connection.recv(100).decode().strip(), flush=True)
time.sleep(3600)
"""


@pytest.fixture
def stub(tmp_path: Path, short_temporary: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[MpsStub]:
    stub = MpsStub(tmp_path)
    stub.use(monkeypatch)
    monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "1")  # of whoever started the agent
    yield stub
    stub.end_daemons()


def make_daemon(stub: MpsStub, tmp_path: Path, uuid: str = UUID, *, answer_s: float = 20.0) -> MpsDaemon:
    folders = choose_folders(tmp_path / "data", uuid)
    return MpsDaemon(stub.program, uuid, folders, tmp_path / f"{uuid}.daemon", MpsTimes(start_s=20, answer_s=answer_s))


@pytest.fixture
async def daemon(stub: MpsStub, tmp_path: Path) -> AsyncIterator[MpsDaemon]:
    daemon = make_daemon(stub, tmp_path)
    yield daemon
    stub.play()
    await daemon.stop()


@pytest.fixture
def clients() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for client in started:
        client.kill()
        client.communicate()


def start_client(daemon: MpsDaemon, clients: list["subprocess.Popen[str]"]) -> int:
    arguments = [sys.executable, "-c", _CLIENT, str(daemon.folders.pipe)]
    client = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True)
    clients.append(client)
    assert client.stdout and client.stdout.readline() == "welcome\n"
    return client.pid


async def test_it_starts_for_its_gpu_alone_in_a_session_of_its_own(daemon: MpsDaemon, stub: MpsStub) -> None:
    await daemon.start()
    (started,) = stub.events("started")
    assert started["environment"] == {
        "CUDA_VISIBLE_DEVICES": UUID,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_MPS_PIPE_DIRECTORY": str(daemon.folders.pipe),
        "CUDA_MPS_LOG_DIRECTORY": str(daemon.folders.log),
    }
    assert started["session"] == started["pid"] == daemon.pid
    await daemon.find_trouble()


async def test_two_gpus_have_two_daemons_and_the_fault_of_one_is_not_the_others(
    daemon: MpsDaemon, stub: MpsStub, tmp_path: Path, clients: list["subprocess.Popen[str]"]
) -> None:
    other = make_daemon(stub, tmp_path, UUID.replace("1", "2"))
    await daemon.start()
    await other.start()
    try:
        victim = start_client(daemon, clients)
        start_client(other, clients)
        os.kill(victim, signal.SIGKILL)  # in the middle of its work
        wait_for(lambda: stub.events("client killed without terminate_client"), "the stand-in to notice")
        with pytest.raises(UnavailableError, match="FAULT"):
            await daemon.find_trouble()
        await other.find_trouble()
        start_client(other, clients)  # new clients are taken
    finally:
        for client in clients:
            client.kill()  # the daemon would wait for them
        await other.stop()


async def test_a_client_is_terminated_before_it_is_killed(
    daemon: MpsDaemon, stub: MpsStub, clients: list["subprocess.Popen[str]"]
) -> None:
    await daemon.start()
    client = start_client(daemon, clients)
    (server,) = await daemon.control.list_servers()
    assert await daemon.control.list_clients(server) == [client]
    await daemon.control.terminate_client(server, client)
    os.kill(client, signal.SIGKILL)
    assert await daemon.control.list_clients(server) == []
    assert stub.commands() == [f"terminate_client {server} {client}"]
    await daemon.find_trouble()


async def test_its_end_leaves_neither_process_nor_socket_nor_record(
    stub: MpsStub, tmp_path: Path, clients: list["subprocess.Popen[str]"]
) -> None:
    daemon = make_daemon(stub, tmp_path, answer_s=5.0)  # for so long its client holds up the first quit
    await daemon.start()
    pid = daemon.pid
    start_client(daemon, clients)
    (server,) = await daemon.control.list_servers()
    await daemon.stop()
    assert stub.commands() == ["quit -t 2"]  # after a quit that its client has held up
    assert not psutil.pid_exists(pid)
    assert server not in find_session(pid)
    assert not daemon.folders.pipe.exists()
    assert make_daemon(stub, tmp_path).adopt() is False


@pytest.mark.slow
async def test_one_that_hangs_is_noticed_and_ended_all_the_same(stub: MpsStub, tmp_path: Path) -> None:
    daemon = make_daemon(stub, tmp_path, answer_s=2.0)
    await daemon.start()
    pid = daemon.pid
    stub.play("hang")
    with pytest.raises(MpsSilentError, match="did not answer 'get_server_list' in 2 s"):
        await daemon.find_trouble()
    await daemon.stop()
    assert not psutil.pid_exists(pid)


async def test_one_that_was_killed_is_noticed_and_its_server_goes(
    daemon: MpsDaemon, clients: list["subprocess.Popen[str]"]
) -> None:
    await daemon.start()
    start_client(daemon, clients)
    (server,) = await daemon.control.list_servers()
    os.kill(daemon.pid, signal.SIGKILL)
    wait_for(lambda: not daemon.is_alive(), "its end")
    with pytest.raises(UnavailableError, match="its MPS daemon has ended"):
        await daemon.find_trouble()
    assert psutil.pid_exists(server)
    await daemon.stop()
    wait_for(lambda: not psutil.pid_exists(server), "the server's end")


async def test_one_that_does_not_start_says_why_and_leaves_nothing(daemon: MpsDaemon, stub: MpsStub) -> None:
    stub.play("refuse")
    with pytest.raises(UnavailableError, match="code 1: Failed to start: the stand-in was told to refuse"):
        await daemon.start()
    assert daemon.pid == 0
    assert not daemon.folders.pipe.exists()


async def test_a_program_that_is_not_there_is_told_of(daemon: MpsDaemon, tmp_path: Path) -> None:
    absent = MpsDaemon("/nowhere/mps", UUID, daemon.folders, tmp_path / "absent", MpsTimes())
    with pytest.raises(UnavailableError, match="/nowhere/mps cannot be started: No such file or directory"):
        await absent.start()


async def test_the_next_agent_adopts_it(daemon: MpsDaemon, stub: MpsStub, tmp_path: Path) -> None:
    await daemon.start()
    heir = make_daemon(stub, tmp_path)
    assert heir.adopt()
    assert heir.pid == daemon.pid
    await heir.find_trouble()
    await heir.stop()
    assert not daemon.is_alive()
    assert not make_daemon(stub, tmp_path).adopt()


async def test_a_record_of_a_pid_that_is_anothers_now_harms_nobody(stub: MpsStub, tmp_path: Path) -> None:
    (tmp_path / f"{UUID}.daemon").write_text(f"{UUID} {os.getsid(0)} 1.0\n")
    daemon = make_daemon(stub, tmp_path)
    daemon.adopt()
    assert daemon.pid == 0
    await daemon.stop()  # this test's own session lives on


async def test_a_start_that_is_cut_off_leaves_a_daemon_that_is_known(daemon: MpsDaemon) -> None:
    start = asyncio.create_task(daemon.start())
    await asyncio.sleep(0)
    start.cancel()
    await asyncio.wait({start})
    pid = daemon.pid
    assert pid
    await daemon.stop()
    assert not psutil.pid_exists(pid)


def test_a_deep_data_folder_has_its_sockets_in_the_temporary_one(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    folders = choose_folders(deep, UUID, tmp_path)
    assert folders.pipe.parent == tmp_path
    assert folders.log.is_relative_to(deep)
    assert choose_folders(deep, UUID, tmp_path) == folders  # the next agent finds it
    prepare_folders(folders)
    assert folders.pipe.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_somebody_else_put_there_is_refused(tmp_path: Path) -> None:
    folders = choose_folders(tmp_path / ("d" * 100), UUID, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folders.pipe.symlink_to(elsewhere)
    with pytest.raises(FailedPreconditionError, match="is not this user's folder"):
        prepare_folders(folders)
    assert elsewhere.exists()


def test_what_somebody_else_put_there_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = choose_folders(tmp_path / ("d" * 100), UUID, tmp_path)
    folders.pipe.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: folders.pipe.stat().st_uid + 1)
    remove_pipe(folders)
    assert folders.pipe.exists()
