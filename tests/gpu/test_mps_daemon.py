"""The real nvidia-cuda-mps-control does what the agent relies on."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from modelyard.errors import UnavailableError
from nodeagent.devices.gpu_environment import share_environment
from nodeagent.devices.mps_daemon import MpsDaemon, MpsTimes
from nodeagent.replica_spec import GpuShare
from tests.gpu.client import Client
from tests.gpu.conftest import StartClient
from tests.harness.mps import find_session
from tests.harness.programs import wait_for


def start_half(mps: MpsDaemon, uuid: str, start_client: StartClient) -> Client:
    return start_client(share_environment(GpuShare(uuid, 50, 4 << 30), mps.folders))


def list_clients(mps: MpsDaemon) -> dict[int, list[int]]:
    """By server."""

    async def ask() -> dict[int, list[int]]:
        return {server: await mps.control.list_clients(server) for server in await mps.control.list_servers()}

    return asyncio.run(ask())


def test_it_starts_without_a_server_and_the_first_client_brings_one(
    mps: MpsDaemon, uuid: str, start_client: StartClient
) -> None:
    assert list_clients(mps) == {}
    client = start_half(mps, uuid, start_client)
    assert [client.pid] in list_clients(mps).values()
    asyncio.run(mps.find_trouble())


def test_it_stops_and_leaves_no_process_and_no_socket(mps: MpsDaemon, uuid: str, start_client: StartClient) -> None:
    leader = mps.pid
    assert start_half(mps, uuid, start_client).leave() == 0
    asyncio.run(mps.stop())
    assert find_session(leader) == []
    assert not mps.folders.pipe.exists()


def test_a_client_that_does_not_leave_holds_up_its_end_for_some_seconds_only(
    mps: MpsDaemon, uuid: str, start_client: StartClient
) -> None:
    leader = mps.pid
    start_half(mps, uuid, start_client).tell("spin 30")
    asyncio.run(mps.stop())
    assert find_session(leader) == []


def test_a_client_that_was_terminated_can_be_killed_and_the_others_go_on(
    mps: MpsDaemon, uuid: str, start_client: StartClient
) -> None:
    victim, other = start_half(mps, uuid, start_client), start_half(mps, uuid, start_client)
    victim.tell("spin 30")
    (server,) = list_clients(mps)
    asyncio.run(mps.control.terminate_client(server, victim.pid))
    assert list_clients(mps) == {server: [other.pid]}
    victim.kill()
    assert other.speed(0.5) > 0
    asyncio.run(mps.find_trouble())
    assert start_half(mps, uuid, start_client).speed(0.5) > 0  # new ones are taken as well


def test_one_that_was_killed_is_noticed_and_its_server_is_ended(
    mps: MpsDaemon, uuid: str, start_client: StartClient
) -> None:
    start_half(mps, uuid, start_client)
    leader = mps.pid
    os.kill(leader, signal.SIGKILL)
    wait_for(lambda: not mps.is_alive(), "its end")
    with pytest.raises(UnavailableError, match="has ended"):
        asyncio.run(mps.find_trouble())
    asyncio.run(mps.stop())
    assert find_session(leader) == []


def test_a_fault_of_one_client_is_noticed_and_a_new_daemon_serves_again(
    mps: MpsDaemon, uuid: str, start_client: StartClient, capsys: pytest.CaptureFixture[str]
) -> None:
    guilty, other = start_half(mps, uuid, start_client), start_half(mps, uuid, start_client)
    code = guilty.break_context()
    with capsys.disabled():
        print(f"\nthe fault: CUDA error {code}; the other client then: {other.ask('break 4096')}")
    with pytest.raises(UnavailableError, match="FAULT"):
        asyncio.run(mps.find_trouble())
    guilty.kill()
    other.kill()
    asyncio.run(mps.stop())
    asyncio.run(mps.start())
    assert start_half(mps, uuid, start_client).speed(0.5) > 0


def test_clients_of_a_daemon_that_was_killed_cannot_go_on(mps: MpsDaemon, uuid: str, start_client: StartClient) -> None:
    client = start_half(mps, uuid, start_client)
    os.kill(mps.pid, signal.SIGKILL)
    with pytest.raises(AssertionError, match="no answer"):  # CUDA error 806: it ends
        client.speed(5)


def test_the_next_agent_finds_it_again(mps: MpsDaemon, uuid: str, tmp_path: Path) -> None:
    record = tmp_path / "record"
    next_agents = MpsDaemon("nvidia-cuda-mps-control", uuid, mps.folders, record, MpsTimes())
    assert next_agents.adopt()
    assert next_agents.pid == mps.pid
    asyncio.run(next_agents.find_trouble())


def test_one_that_does_not_start_says_why(uuid: str, daemon: MpsDaemon, tmp_path: Path) -> None:
    blocked = MpsDaemon("/bin/false", uuid, daemon.folders, tmp_path / "other", MpsTimes())
    with pytest.raises(UnavailableError, match="code 1"):
        asyncio.run(blocked.start())
    assert not daemon.folders.pipe.exists()
