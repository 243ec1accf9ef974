"""Facts of GPUs that are law here: what a process is told of its share, and what it is not told."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nodeagent.devices.gpu_environment import (
    MpsFolders,
    daemon_environment,
    exclusive_environment,
    forget_mps,
    share_environment,
)
from nodeagent.replica_spec import GpuShare

UUID = "GPU-5c3f"
FOLDERS = MpsFolders(Path("/data/mps/p"), Path("/data/mps/l"))
MIB = 1 << 20


def test_memory_is_limited_for_each_process_by_the_ordinal_that_it_sees() -> None:
    environment = share_environment(GpuShare(UUID, 25, 10 << 30), FOLDERS)
    assert environment["CUDA_VISIBLE_DEVICES"] == UUID  # so that its GPU is device 0, whichever the host's is
    assert environment["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=10240M"


def test_the_percentage_is_set_in_the_environment_since_it_is_fixed_when_the_process_starts() -> None:
    assert share_environment(GpuShare(UUID, 25, MIB), FOLDERS)["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "25"


def test_who_was_promised_no_memory_has_no_limit_of_it() -> None:
    assert "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT" not in share_environment(GpuShare(UUID, 25, 0), FOLDERS)


@given(st.integers(1, 1 << 50))
def test_no_limit_is_more_than_was_given_nor_nothing(memory_bytes: int) -> None:
    device, _, limit = share_environment(GpuShare(UUID, 50, memory_bytes), FOLDERS)[
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"
    ].partition("=")
    assert device == "0"
    assert limit.endswith("M")
    assert 1 <= int(limit[:-1]) <= max(1, memory_bytes // MIB)


def test_an_exclusive_process_and_the_daemon_have_no_limits() -> None:
    for environment in (exclusive_environment(UUID), daemon_environment(UUID, FOLDERS)):
        assert environment["CUDA_VISIBLE_DEVICES"] == UUID
        assert not {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"} & environment.keys()


def test_an_exclusive_process_goes_past_a_daemon_of_the_host() -> None:
    assert exclusive_environment(UUID)["CUDA_MPS_PIPE_DIRECTORY"] == "/dev/null"


def test_only_what_is_of_mps_is_forgotten() -> None:
    environment = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "10", "CUDA_MPS_CLIENT_PRIORITY": "1", "CUDA_HOME": "/usr"}
    forget_mps(environment)
    assert environment == {"CUDA_HOME": "/usr"}
