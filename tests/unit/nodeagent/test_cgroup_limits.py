"""What cgroups allow, in containers and on hosts, of version 1, version 2 and both."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from nodeagent.devices.cgroup_limits import CgroupLimits, read_limits
from nodeagent.devices.cgroups import UNIFIED, find_cgroups
from tests.harness.host_files import write_tree

GIB = 1 << 30
NO_LIMIT_V1 = "9223372036854771712"


class Process:
    """What a process sees: its line in /proc/self/cgroup for each hierarchy, and where those are mounted."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.fs = folder / "proc", folder / "cgroup fs"  # a path with a blank, which mountinfo escapes
        self._cgroups: list[str] = []
        self._mounts = ["22 1 0:20 / /proc rw,nosuid - proc proc rw"]

    def mount(self, at: str, *, controllers: str = "", root: str = "/", path: str = "/") -> Path:
        """`controllers`: "" for version 2. `path`: the process's own in that hierarchy."""
        point = self.fs / at
        point.mkdir(parents=True, exist_ok=True)
        self._cgroups.append(f"{len(self._cgroups)}:{controllers}:{path}")
        kind = f"cgroup cgroup rw,{controllers}" if controllers else "cgroup2 cgroup2 rw,nsdelegate"
        escaped = str(point).replace(" ", "\\040")
        self._mounts.append(f"30 22 0:26 {root} {escaped} ro,nosuid,nodev shared:9 master:4 - {kind}")
        return point

    def limits(self) -> CgroupLimits:
        write_tree(self.proc, {"cgroup": "\n".join(self._cgroups), "mountinfo": "\n".join(self._mounts)})
        return read_limits(find_cgroups(self.proc))


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


def test_a_container_of_version_2_sees_its_own_cgroup_as_the_root(process: Process) -> None:
    own = process.mount("unified")
    write_tree(own, {"cpu.max": "250000 100000", "memory.max": str(2 * GIB), "cpuset.cpus.effective": "0-3"})
    assert process.limits() == CgroupLimits(cpus=2.5, memory_bytes=2 * GIB, cores=frozenset(range(4)))


V2_ON_A_HOST: Mapping[str, str] = {
    "cpuset.cpus.effective": "0-7",
    "yard.slice/cpu.max": "400000 100000",
    "yard.slice/memory.max": str(8 * GIB),
    "yard.slice/cpuset.cpus.effective": "0-5",
    "yard.slice/agent.service/cpu.max": "max 100000",
    "yard.slice/agent.service/memory.max": "max",
    "yard.slice/agent.service/memory.high": str(6 * GIB),
}


def test_the_tightest_of_all_ancestors_counts(process: Process) -> None:
    write_tree(process.mount("unified", path="/yard.slice/agent.service"), V2_ON_A_HOST)
    assert process.limits() == CgroupLimits(cpus=4.0, memory_bytes=6 * GIB, cores=frozenset(range(6)))


def test_no_limit_is_none(process: Process) -> None:
    write_tree(process.mount("unified"), {"cpu.max": "max 100000", "memory.max": "max"})
    assert process.limits() == CgroupLimits()


@pytest.mark.parametrize("text", ["", "all", "0-65535"])
def test_what_names_no_cores_is_no_limit_and_what_is_above_it_counts(process: Process, text: str) -> None:
    files = {
        "own/cpuset.cpus.effective": text,
        "cpuset.cpus.effective": "0-3",
        "own/cpu.max": "",
        "own/memory.max": "?",
    }
    write_tree(process.mount("unified", path="/own"), files)
    assert process.limits() == CgroupLimits(cores=frozenset(range(4)))


def test_a_host_of_version_1(process: Process) -> None:
    cpu = process.mount("cpu,cpuacct", controllers="cpu,cpuacct", path="/yard/agent")
    memory = process.mount("memory", controllers="memory", path="/yard/agent")
    cpuset = process.mount("cpuset", controllers="cpuset", path="/yard/agent")
    write_tree(cpu, {"yard/agent/cpu.cfs_quota_us": "-1", "yard/agent/cpu.cfs_period_us": "100000"})
    write_tree(cpu, {"yard/cpu.cfs_quota_us": "150000", "yard/cpu.cfs_period_us": "50000"})
    write_tree(memory, {"memory.limit_in_bytes": NO_LIMIT_V1, "yard/memory.limit_in_bytes": str(4 * GIB)})
    write_tree(memory, {"yard/agent/memory.limit_in_bytes": NO_LIMIT_V1})
    write_tree(cpuset, {"yard/agent/cpuset.cpus": "2-3", "cpuset.cpus": "0-7"})
    assert process.limits() == CgroupLimits(cpus=3.0, memory_bytes=4 * GIB, cores=frozenset({2, 3}))


def test_a_container_of_version_1_that_sees_the_hosts_paths(process: Process) -> None:
    """Without a namespace of its own: the path is the host's, and so is the root of what is mounted."""
    where = {"root": "/docker/abc", "path": "/docker/abc"}
    memory = process.mount("memory", controllers="memory", **where)
    write_tree(
        memory, {"memory.limit_in_bytes": NO_LIMIT_V1, "memory.stat": f"cache 1\nhierarchical_memory_limit {GIB}"}
    )
    write_tree(
        process.mount("cpu", controllers="cpu", **where), {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}
    )
    # The pod above it is told of in memory.stat alone.
    assert process.limits() == CgroupLimits(cpus=0.5, memory_bytes=GIB)


def test_hybrid_mounts_count_both_versions(process: Process) -> None:
    write_tree(process.mount("unified", path="/a"), {"a/cpu.max": "300000 100000"})
    write_tree(process.mount("memory", controllers="memory", path="/a"), {"a/memory.limit_in_bytes": str(GIB)})
    process.mount("systemd", controllers="name=systemd", path="/a")
    assert process.limits() == CgroupLimits(cpus=3.0, memory_bytes=GIB)


def test_a_path_that_is_not_below_what_is_mounted_leaves_what_can_be_seen(process: Process) -> None:
    own = process.mount("unified", root="/kubepods/pod1", path="/../elsewhere")
    write_tree(own, {"memory.max": str(GIB)})
    assert process.limits().memory_bytes == GIB
    other = Process(process.proc.parent / "other")
    write_tree(other.mount("unified", path="/gone"), {"memory.max": str(GIB)})
    assert other.limits().memory_bytes == GIB


def test_of_two_mounts_of_a_hierarchy_the_first_counts(process: Process) -> None:
    write_tree(process.mount("unified"), {"memory.max": str(GIB)})
    process.mount("again")
    assert process.limits().memory_bytes == GIB


def test_a_mount_whose_name_is_no_text_is_read_over(process: Process) -> None:
    write_tree(process.mount("unified"), {"memory.max": str(GIB)})
    assert process.limits().memory_bytes == GIB
    with (process.proc / "mountinfo").open("ab") as file:
        file.write(b"40 22 8:17 / /media/Gro\xdfe\\040Platte rw - vfat /dev/sdb1 rw\n")
    assert read_limits(find_cgroups(process.proc)).memory_bytes == GIB


def test_without_cgroups_nothing_is_limited(tmp_path: Path) -> None:
    assert find_cgroups(tmp_path) == {}
    assert read_limits({}) == CgroupLimits()


def test_the_cgroups_of_this_process_are_found() -> None:
    cgroups = find_cgroups()
    read_limits(cgroups)
    for cgroup in cgroups.values():
        assert list(cgroup.upwards())[-1] == cgroup.top
    if UNIFIED in cgroups:
        assert (cgroups[UNIFIED].folder / "cgroup.procs").exists()
