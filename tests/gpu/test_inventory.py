"""What the agent tells of a real GPU."""

from contextlib import closing

from nodeagent.devices.gpu_environment import exclusive_environment
from nodeagent.devices.gpu_host import find_gpus
from nodeagent.devices.gpu_shares import find_mps_reason, offered_shares
from tests.gpu.conftest import StartClient
from tests.gpu.test_utilisation import read_sm_percents


class Settings:
    gpu_shares = "75"
    mps_on_mig = False


def test_the_gpu_is_described_as_its_driver_knows_it(uuid: str) -> None:
    with closing(find_gpus("all")) as host:
        gpu = next(gpu for gpu in host.selection.gpus if gpu.uuid == uuid)
        print(gpu, host.selection)
    assert gpu.hardware_class.startswith(("NVIDIA", "Tesla", "Quadro", "GeForce"))
    assert gpu.memory_bytes > 1 << 30
    assert gpu.compute_capability
    assert gpu.pci_bus_id
    assert host.selection.driver_version


def test_a_healthy_gpu_is_in_service_and_its_load_is_seen(uuid: str, start_client: StartClient) -> None:
    with closing(find_gpus("all")) as host:
        client = start_client(exclusive_environment(uuid))
        client.tell("spin 6")
        read_sm_percents(uuid, 5)
        condition = next(condition for condition in host.conditions() if condition.uuid == uuid)
        print(condition)
        client.read()
    assert condition.fault == ""
    assert condition.utilization_percent > 50
    assert condition.memory_used_bytes > 0
    assert condition.processes >= 1


def test_it_is_offered_in_shares_where_nvidias_program_is_there(uuid: str) -> None:
    with closing(find_gpus("all")) as host:
        gpu = next(gpu for gpu in host.selection.gpus if gpu.uuid == uuid)
    reason = find_mps_reason()
    shares, because = offered_shares(gpu, Settings(), reason)
    assert (shares == (100,)) is bool(because)
    assert because or shares == (100, 75, 50, 25)
