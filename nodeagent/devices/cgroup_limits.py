"""What this process's cgroups let it have of the host, the tightest of all that are above it.

Version 2: cpu.max, memory.max, memory.high and cpuset.cpus.effective (the kernel's cgroup-v2.rst). Version 1:
cpu.cfs_quota_us, memory.limit_in_bytes and memory.stat's hierarchical_memory_limit, which tells of cgroups above a
container as well, and cpuset.effective_cpus.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from nodeagent.devices.cgroups import UNIFIED, Cgroup
from nodeagent.devices.cpu import parse_cores

# Version 1 writes a number like this where there is no limit.
_NO_LIMIT_BYTES = 1 << 60


@dataclass(frozen=True)
class CgroupLimits:
    """None: no limit."""

    cpus: float | None = None  # of processor time, in cores
    memory_bytes: int | None = None
    cores: frozenset[int] | None = None


def read_limits(cgroups: Mapping[str, Cgroup]) -> CgroupLimits:
    """`cgroups` as `find_cgroups` gives them."""
    limits = list(_read_memory_limits(cgroups))
    return CgroupLimits(
        cpus=min(_read_quotas(cgroups), default=None),
        memory_bytes=min((limit for limit in limits if limit < _NO_LIMIT_BYTES), default=None),
        cores=_read_cores(cgroups),
    )


def _read_quotas(cgroups: Mapping[str, Cgroup]) -> Iterator[float]:
    for folder in _upwards(cgroups, UNIFIED):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        yield from _divide(quota, period)
    for folder in _upwards(cgroups, "cpu"):
        yield from _divide(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _divide(quota: str, period: str) -> Iterator[float]:
    """Nothing for "max", and for -1."""
    if quota.isdigit() and period.isdigit() and int(period):
        yield int(quota) / int(period)


def _read_memory_limits(cgroups: Mapping[str, Cgroup]) -> Iterator[int]:
    unified = (_read(folder / name) for folder in _upwards(cgroups, UNIFIED) for name in ("memory.max", "memory.high"))
    own = (_read(folder / "memory.limit_in_bytes") for folder in _upwards(cgroups, "memory"))
    for value in chain(unified, own):
        if value.isdigit():
            yield int(value)
    if "memory" in cgroups:
        for line in _read(cgroups["memory"].folder / "memory.stat").splitlines():
            if line.startswith("hierarchical_memory_limit "):
                yield int(line.split()[1])


def _read_cores(cgroups: Mapping[str, Cgroup]) -> frozenset[int] | None:
    sets = [
        *_first(_upwards(cgroups, UNIFIED), ("cpuset.cpus.effective",)),
        *_first(_upwards(cgroups, "cpuset"), ("cpuset.effective_cpus", "cpuset.cpus")),
    ]
    return frozenset.intersection(*sets) if sets else None


def _first(folders: Iterable[Path], names: Iterable[str]) -> list[frozenset[int]]:
    """The set in the first of these files that has one: what is above it is in it already."""
    names = tuple(names)
    for folder in folders:
        for name in names:
            with suppress(ValueError):  # it has none
                return [frozenset(parse_cores(_read(folder / name)))]
    return []


def _upwards(cgroups: Mapping[str, Cgroup], controller: str) -> Iterable[Path]:
    return cgroups[controller].upwards() if controller in cgroups else ()


def _read(path: Path) -> str:
    """ "" where there is none: the uppermost cgroup has no limits, and none has those of a controller that is off."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
