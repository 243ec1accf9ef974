"""What an agent offers of a host's cores and memory."""

import pytest

from nodeagent.devices.cgroup_limits import CgroupLimits
from nodeagent.devices.cpu_offer import Host, compute_offer, read_host
from nodeagent.devices.cpu_topology import CpuCore

GIB = 1 << 30
# Two NUMA nodes of two physical cores with siblings: cores 0, 1 with 4, 5, and 2, 3 with 6, 7.
TOPOLOGY = tuple(CpuCore(number, number % 4 // 2, number % 4 // 2, number % 4) for number in range(8))


def host(*, usable: tuple[int, ...] = tuple(range(8)), limits: CgroupLimits | None = None) -> Host:
    topology = tuple(core for core in TOPOLOGY if core.number in usable)
    return Host(tuple(range(8)), usable, topology, 64 * GIB, limits or CgroupLimits())


def test_all_of_a_host_without_limits_is_offered_without_a_word() -> None:
    offer = compute_offer(host(), None, None)
    assert (offer.cores, offer.memory_bytes) == (tuple(range(8)), 64 * GIB)
    assert offer.topology == TOPOLOGY
    assert not offer.reasons
    assert not offer.warnings


@pytest.mark.parametrize(
    ("cpus", "cores"),
    [
        (0.5, (0,)),
        (1.0, (0,)),
        (2.5, (0, 1)),
        (3.0, (0, 1, 4)),
        (5.0, (0, 1, 2, 3, 4)),
        (64.0, tuple(range(8))),
    ],
)
def test_a_quota_offers_whole_cores_near_each_other_and_siblings_last(cpus: float, cores: tuple[int, ...]) -> None:
    offer = compute_offer(host(limits=CgroupLimits(cpus=cpus)), None, None)
    assert offer.cores == cores
    assert {core.number for core in offer.topology} == set(cores)


def test_what_is_offered_less_is_explained() -> None:
    limits = CgroupLimits(cpus=2.5, memory_bytes=2 * GIB)
    offer = compute_offer(host(usable=(4, 5, 6, 7), limits=limits), None, None)
    assert (offer.cores, offer.memory_bytes) == ((4, 5), 2 * GIB)
    cores, quota, memory = offer.reasons
    assert cores == "it may run on cores 4-7 of the host's 0-7"
    assert quota.startswith("its cgroup gives it the time of 2.5 cores")
    assert memory == "its cgroup allows 2 GiB of the host's 64 GiB"


def test_a_limit_above_what_the_host_has_changes_nothing() -> None:
    offer = compute_offer(host(limits=CgroupLimits(cpus=16.0, memory_bytes=128 * GIB)), None, None)
    assert (len(offer.cores), offer.memory_bytes, offer.reasons) == (8, 64 * GIB, ())


def test_a_cgroup_that_allows_nothing_offers_no_memory() -> None:
    assert compute_offer(host(limits=CgroupLimits(memory_bytes=0)), None, None).memory_bytes == 0


def test_what_the_settings_say_rules_over_the_quota_with_a_warning() -> None:
    offer = compute_offer(host(limits=CgroupLimits(cpus=2.5)), "0-3", None)
    assert offer.cores == (0, 1, 2, 3)
    (warning,) = offer.warnings
    assert warning.startswith("cores 0-3 are offered, and this process's cgroup gives it the time of 2.5 cores")
    assert not compute_offer(host(limits=CgroupLimits(cpus=2.5)), "6-7", None).warnings


def test_cores_outside_the_set_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cores \[0\] cannot be used here"):
        compute_offer(host(usable=(4, 5)), "0,4", None)


def test_memory_above_the_cgroups_is_refused_and_above_the_hosts_warned_of() -> None:
    limited = host(limits=CgroupLimits(memory_bytes=2 * GIB))
    assert compute_offer(limited, None, 2 * GIB).memory_bytes == 2 * GIB
    with pytest.raises(ValueError, match=r"4 GiB of memory cannot be offered.*allows 2 GiB.*--memory-bytes 2147483648"):
        compute_offer(limited, None, 4 * GIB)
    offer = compute_offer(host(), None, 65 * GIB)
    assert offer.memory_bytes == 65 * GIB
    assert offer.warnings[0].startswith("65 GiB of memory are offered, and this host has 64 GiB")


def test_this_host_can_be_offered() -> None:
    here = read_host()
    offer = compute_offer(here, None, None)
    assert set(offer.cores) <= set(here.usable) <= set(here.online)
    assert 0 < offer.memory_bytes <= here.memory_bytes
