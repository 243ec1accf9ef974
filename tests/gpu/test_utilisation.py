"""What the driver tells of each process on the GPU."""

import asyncio
import time
from typing import Any

import psutil
import pytest

from nodeagent.devices.gpu_environment import exclusive_environment, share_environment
from nodeagent.devices.mps_daemon import MpsDaemon
from nodeagent.replica_spec import GpuShare
from tests.gpu.conftest import StartClient


def read_sm_percents(uuid: str, seconds: float) -> dict[int, int]:
    """The largest that NVML told of each pid in that time."""
    import pynvml  # type: ignore[import-untyped]

    pynvml.nvmlInit()
    found: dict[int, int] = {}
    try:
        device = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        end, since = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            for sample in _read_samples(pynvml, device, since):
                since = max(since, sample.timeStamp)
                found[sample.pid] = max(found.get(sample.pid, 0), sample.smUtil)
            time.sleep(0.2)
        return found
    finally:
        pynvml.nvmlShutdown()


def _read_samples(pynvml: Any, device: Any, since: int) -> list[Any]:
    try:
        return list(pynvml.nvmlDeviceGetProcessUtilization(device, since))
    except pynvml.NVMLError_NotFound:  # nothing since then
        return []


def _skip_in_other_namespace(percents: dict[int, int], pid: int) -> None:
    if pid not in percents and any(not psutil.pid_exists(other) for other in percents):
        pytest.skip(f"the driver tells pids of another namespace here: {sorted(percents)}")


def test_a_busy_process_is_seen_with_what_it_uses(
    uuid: str, start_client: StartClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client = start_client(exclusive_environment(uuid))
    client.tell("spin 6")
    percents = read_sm_percents(uuid, 5)
    with capsys.disabled():
        print(f"\nSM percents by pid: {percents}; ours is {client.pid}")
    _skip_in_other_namespace(percents, client.pid)
    assert percents[client.pid] > 50
    client.read()


def test_under_mps_the_driver_tells_of_the_server_and_not_of_its_clients(
    mps: MpsDaemon, uuid: str, start_client: StartClient, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = start_client(share_environment(GpuShare(uuid, 50, 4 << 30), mps.folders))
    idle = start_client(share_environment(GpuShare(uuid, 50, 4 << 30), mps.folders))
    busy.tell("spin 6")
    percents = read_sm_percents(uuid, 5)
    with capsys.disabled():
        print(f"\nunder MPS, SM percents by pid: {percents}; busy {busy.pid}, idle {idle.pid}")
    (server,) = asyncio.run(mps.control.list_servers())
    _skip_in_other_namespace(percents, server)
    assert percents[server] > 50
    assert not {busy.pid, idle.pid} & percents.keys()
    busy.read()
