"""Where each CPU core is, as the kernel tells it in /sys (sysfs-devices-system-cpu, sysfs-devices-node)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nodeagent.devices.cpu import parse_cores

CPUS = Path("/sys/devices/system/cpu")
NUMA_NODES = Path("/sys/devices/system/node")


@dataclass(frozen=True)
class CpuCore:
    """A core as the kernel numbers them: where there is SMT, one thread of a physical core.

    `physical_core` is the lowest number among its siblings, so that no other physical core of the host has it: the
    kernel's own core_id is unique within a die only.
    """

    number: int
    socket: int
    numa_node: int
    physical_core: int


def read_topology(cores: Iterable[int], cpus: Path = CPUS, numa_nodes: Path = NUMA_NODES) -> tuple[CpuCore, ...]:
    """Of these cores, sorted. What the kernel does not tell is taken to be one socket, one node, no siblings."""
    node_of = _read_numa_nodes(numa_nodes)
    return tuple(_read_core(number, cpus, node_of) for number in sorted(cores))


def read_online_cores(cpus: Path = CPUS) -> tuple[int, ...]:
    """All that the host runs, whoever may use them; none where the kernel does not tell."""
    return _read_cores(cpus / "online")


def _read_core(number: int, cpus: Path, node_of: Mapping[int, int]) -> CpuCore:
    folder = cpus / f"cpu{number}" / "topology"
    # The first is the newer name of the second. Cores that are offline are not in it.
    siblings = _read_cores(folder / "core_cpus_list") or _read_cores(folder / "thread_siblings_list")
    return CpuCore(
        number=number,
        socket=max(0, _read_number(folder / "physical_package_id")),  # -1 where the firmware does not say
        numa_node=node_of.get(number, 0),
        physical_core=min(siblings, default=number),
    )


def _read_numa_nodes(numa_nodes: Path) -> dict[int, int]:
    """The node of each core. Nodes of memory alone have no cores."""
    node_of = {}
    for folder in numa_nodes.glob("node[0-9]*"):
        for core in _read_cores(folder / "cpulist"):
            node_of[core] = int(folder.name.removeprefix("node"))
    return node_of


def _read_cores(path: Path) -> tuple[int, ...]:
    try:
        return parse_cores(path.read_text().strip())
    except (OSError, ValueError):  # not there, or empty
        return ()


def _read_number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
