"""What a share of a GPU is worth: measured, not read from a variable."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from nodeagent.devices.gpu_environment import NO_GPU, exclusive_environment, share_environment
from nodeagent.devices.mps_daemon import MpsDaemon
from nodeagent.replica_spec import GpuShare
from tests.gpu.client import Client
from tests.gpu.conftest import StartClient

_GIB = 1 << 30


def share(mps: MpsDaemon, uuid: str, percent: int, memory_bytes: int = 4 * _GIB) -> dict[str, str]:
    return share_environment(GpuShare(uuid, percent, memory_bytes), mps.folders)


def measure_together(*clients: Client) -> list[float]:
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(Client.speed, clients))


def test_two_processes_at_25_and_75_percent_compute_at_speeds_of_1_to_3(
    mps: MpsDaemon, uuid: str, start_client: StartClient, capsys: pytest.CaptureFixture[str]
) -> None:
    quarter = start_client(share(mps, uuid, 25))
    rest = start_client(share(mps, uuid, 75))
    slow, fast = measure_together(quarter, rest)
    with capsys.disabled():
        print(f"\n25% of {quarter.multiprocessors} SMs: {slow:.1f}/s, 75%, {rest.multiprocessors} SMs: {fast:.1f}/s")
    assert 2.2 < fast / slow < 3.8


def test_a_share_is_a_cap_an_idle_gpu_makes_it_no_faster(
    mps: MpsDaemon, uuid: str, start_client: StartClient, capsys: pytest.CaptureFixture[str]
) -> None:
    full, quarter = start_client(share(mps, uuid, 100)), start_client(share(mps, uuid, 25))
    whole, alone = full.speed(), quarter.speed()
    with capsys.disabled():
        print(f"\nalone: 100% {whole:.1f}/s, 25% {alone:.1f}/s")
    assert 0.15 < alone / whole < 0.35
    assert 0 < quarter.multiprocessors <= full.multiprocessors // 4  # it is rounded down


def test_a_share_is_no_reservation_what_is_given_twice_is_divided(
    mps: MpsDaemon, uuid: str, start_client: StartClient, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start_client(share(mps, uuid, 75))
    alone = first.speed()
    together, other = measure_together(first, start_client(share(mps, uuid, 75)))
    with capsys.disabled():
        print(f"\n75% alone {alone:.1f}/s, two of 75% together {together:.1f}/s and {other:.1f}/s")
    assert together < 0.9 * alone


def test_memory_beyond_the_share_of_one_process_is_refused_to_it_alone(
    mps: MpsDaemon, uuid: str, start_client: StartClient
) -> None:
    small = start_client(share(mps, uuid, 25, 2 * _GIB))
    large = start_client(share(mps, uuid, 25, 8 * _GIB))
    assert small.allocates(_GIB)
    assert not small.allocates(2 * _GIB)
    assert large.allocates(4 * _GIB)
    assert not large.allocates(8 * _GIB)


def test_an_exclusive_process_goes_past_the_daemon(
    mps: MpsDaemon, uuid: str, start_client: StartClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in share(mps, uuid, 25).items():
        monkeypatch.setenv(name, value)  # as if the agent itself had been started so
    monkeypatch.delenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")
    start_client(exclusive_environment(uuid))
    assert asyncio.run(mps.control.list_servers()) == []  # the first client would have brought one


def test_a_process_without_a_share_sees_no_gpu(uuid: str, start_client: StartClient) -> None:
    with pytest.raises(AssertionError, match="exit code"):
        start_client(NO_GPU)
