"""Where cores are, of folders that look as /sys does on several hosts."""

from pathlib import Path

import pytest

from nodeagent.devices.cpu_topology import CpuCore, read_online_cores, read_topology
from tests.harness.host_files import cpu_files, write_tree


@pytest.fixture
def cpus(tmp_path: Path) -> Path:
    return tmp_path / "cpu"


@pytest.fixture
def numa(tmp_path: Path) -> Path:
    return tmp_path / "node"


def test_two_sockets_with_smt(cpus: Path, numa: Path) -> None:
    # The kernel's core_id begins again on the second socket.
    for number, siblings, socket, core_id in (
        (0, "0,4", 0, 0), (1, "1,5", 0, 1), (2, "2,6", 1, 0), (3, "3,7", 1, 1),
        (4, "0,4", 0, 0), (5, "1,5", 0, 1), (6, "2,6", 1, 0), (7, "3,7", 1, 1),
    ):  # fmt: skip
        write_tree(cpus, cpu_files(number, siblings, socket, core_id))
    write_tree(numa, {"node0/cpulist": "0-1,4-5", "node1/cpulist": "2-3,6-7", "node2/cpulist": ""})  # of memory alone
    cores = read_topology(range(8), cpus, numa)
    assert [(core.socket, core.numa_node, core.physical_core) for core in cores[:4]] == [
        (0, 0, 0), (0, 0, 1), (1, 1, 2), (1, 1, 3)
    ]  # fmt: skip
    assert [core.physical_core for core in cores[4:]] == [0, 1, 2, 3]


def test_dies_of_one_socket_that_number_their_cores_alike_share_no_physical_core(cpus: Path, numa: Path) -> None:
    for number in range(4):
        write_tree(cpus, cpu_files(number, str(number), 0, core_id=number % 2))
    assert len({core.physical_core for core in read_topology(range(4), cpus, numa)}) == 4


def test_only_the_cores_asked_for_are_told_and_several_nodes_may_be_on_one_socket(cpus: Path, numa: Path) -> None:
    for number in range(4):
        write_tree(cpus, cpu_files(number, str(number), 0, number))
    write_tree(numa, {"node0/cpulist": "0-1", "node10/cpulist": "2-3"})
    assert read_topology([3, 1], cpus, numa) == (CpuCore(1, 0, 0, 1), CpuCore(3, 0, 10, 3))


def test_a_hybrid_cpu_has_siblings_on_some_cores_only(cpus: Path, numa: Path) -> None:
    for number, siblings in ((0, "0-1"), (1, "0-1"), (2, "2"), (3, "3")):
        write_tree(cpus, cpu_files(number, siblings, 0, number))
    assert [core.physical_core for core in read_topology(range(4), cpus, numa)] == [0, 0, 2, 3]


def test_a_sibling_that_is_offline_leaves_the_other_alone(cpus: Path, numa: Path) -> None:
    write_tree(cpus, {"online": "1-2", **cpu_files(1, "1", 0, 0), **cpu_files(2, "2", 0, 1)})
    (cpus / "cpu0").mkdir()  # an offline core has no topology
    assert read_online_cores(cpus) == (1, 2)
    assert [core.physical_core for core in read_topology([1, 2], cpus, numa)] == [1, 2]


def test_an_older_kernel_names_siblings_otherwise(cpus: Path, numa: Path) -> None:
    write_tree(cpus, {f"cpu{number}/topology/thread_siblings_list": "0,2" for number in (0, 2)})
    assert [core.physical_core for core in read_topology([0, 2], cpus, numa)] == [0, 0]


def test_a_host_that_tells_nothing_has_one_node_and_no_siblings(cpus: Path, numa: Path) -> None:
    write_tree(cpus, {"cpu1/topology/physical_package_id": "-1"})  # as firmware that does not know says
    assert read_topology([0, 1], cpus, numa) == (CpuCore(0, 0, 0, 0), CpuCore(1, 0, 0, 1))
    assert read_online_cores(cpus) == ()


def test_this_host_is_read() -> None:
    online = read_online_cores()
    topology = read_topology(online)
    assert [core.number for core in topology] == list(online)
    assert all(core.physical_core in online for core in topology)
