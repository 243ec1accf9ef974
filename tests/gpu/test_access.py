"""The way that a replica takes: opened, limited, lost, ended, on a real GPU."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from nodeagent.devices.mps_access import MpsAccess
from nodeagent.devices.mps_daemon import MpsDaemon, MpsTimes
from nodeagent.devices.mps_state import MpsLimits
from nodeagent.replica_spec import GpuShare
from tests.gpu.conftest import StartClient


def lose(reason: str) -> None:
    raise AssertionError(reason)


async def stop_after(access: MpsAccess, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    finally:
        await access.stop()


@pytest.fixture
def access(daemon: MpsDaemon, uuid: str, tmp_path: Path) -> MpsAccess:
    return MpsAccess([uuid], tmp_path / "access", MpsLimits(check_interval_s=0.5), MpsTimes())


def test_shares_are_opened_and_a_replica_is_ended_without_harm_to_its_neighbour(
    access: MpsAccess, uuid: str, start_client: StartClient, capsys: pytest.CaptureFixture[str]
) -> None:
    async def live() -> None:
        began = time.monotonic()
        share = GpuShare(uuid, 25, 4 << 30)
        first = await access.open("a", share, lose)
        took_s = time.monotonic() - began
        victim = await asyncio.to_thread(start_client, first)
        neighbour = await asyncio.to_thread(start_client, await access.open("b", share, lose))
        victim.tell("spin 30")
        began = time.monotonic()
        await access.end_client(share, victim.pid)
        victim.kill()
        ended_s = time.monotonic() - began
        access.close("a")
        with capsys.disabled():
            print(f"\nthe first share was open after {took_s:.2f} s; a busy client was ended in {ended_s:.2f} s")
        assert await asyncio.to_thread(neighbour.speed, 1.0) > 0
        await asyncio.sleep(1.5)  # some checks: a fault would tell the neighbour to leave
        assert await asyncio.to_thread(neighbour.leave) == 0
        access.close("b")

    asyncio.run(stop_after(access, live()))


def test_whoever_gets_the_whole_gpu_gets_it_without_a_server_on_it(
    access: MpsAccess, uuid: str, start_client: StartClient
) -> None:
    async def live() -> None:
        client = await asyncio.to_thread(start_client, await access.open("a", GpuShare(uuid, 50, 4 << 30), lose))
        assert await asyncio.to_thread(client.leave) == 0
        access.close("a")
        whole = await access.open("b", GpuShare(uuid, 100, 0), lose)
        import pynvml  # type: ignore[import-untyped]

        pynvml.nvmlInit()
        used = pynvml.nvmlDeviceGetMPSComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByUUID(uuid))
        pynvml.nvmlShutdown()
        assert not used
        assert (await asyncio.to_thread(start_client, whole)).multiprocessors > client.multiprocessors

    asyncio.run(stop_after(access, live()))
