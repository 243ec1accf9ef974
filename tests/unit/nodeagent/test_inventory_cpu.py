"""What an agent tells of its host's cores and memory, and what it says of that in its log."""

import logging

import pytest

from nodeagent import inventory
from nodeagent.devices.cgroup_limits import CgroupLimits
from nodeagent.devices.cpu_offer import Host
from nodeagent.devices.cpu_topology import CpuCore
from nodeagent.devices.gpu_selection import Selection
from nodeagent.settings import AgentSettings

GIB = 1 << 30
TOPOLOGY = (CpuCore(4, 1, 1, 4), CpuCore(5, 1, 1, 5), CpuCore(6, 1, 1, 4), CpuCore(7, 1, 1, 5))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    limits = CgroupLimits(cpus=2.5, memory_bytes=2 * GIB)
    host = Host(tuple(range(8)), (4, 5, 6, 7), TOPOLOGY, 64 * GIB, limits)
    monkeypatch.setattr(inventory, "read_host", lambda: host)
    return host


def test_where_each_core_is_goes_to_the_controller(host: Host) -> None:
    resources = inventory.take_inventory(AgentSettings.load(["--cores", "5,6"]), (), Selection())
    told = [(core.number, core.socket, core.numa_node, core.physical_core) for core in resources.topology]
    assert told == [(5, 1, 1, 5), (6, 1, 1, 4)]
    assert (list(resources.cores), resources.memory_bytes) == ([5, 6], 2 * GIB)


def test_why_it_is_less_than_the_host_has_is_said_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=inventory.__name__):
        inventory.take_inventory(AgentSettings.load([]), (), Selection())
    (line,) = [record.getMessage() for record in caplog.records if record.name == inventory.__name__]
    assert line.startswith("offering cores 4-5 and 2 GiB, less than the host has: it may run on cores 4-7")
    assert "the time of 2.5 cores" in line
    assert "its cgroup allows 2 GiB of the host's 64 GiB" in line


def test_more_than_can_be_had_is_warned_of(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    inventory.take_inventory(AgentSettings.load(["--cores", "4-7"]), (), Selection())
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("cores 4-7 are offered, and this process's cgroup gives it the time of 2.5 cores")
