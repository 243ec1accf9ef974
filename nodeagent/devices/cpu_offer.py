"""How much of the host's cores and memory an agent offers: what it may use itself, and no more than it was told."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import psutil

from modelyard.core_choice import choose_cores
from modelyard.sizes import format_size
from nodeagent.devices import cpu
from nodeagent.devices.cgroup_limits import CgroupLimits, read_limits
from nodeagent.devices.cgroups import find_cgroups
from nodeagent.devices.cpu_topology import CpuCore, read_online_cores, read_topology


@dataclass(frozen=True)
class Host:
    """What there is. `usable`: the cores that this process may run on."""

    online: tuple[int, ...]
    usable: tuple[int, ...]
    topology: tuple[CpuCore, ...]  # of `usable`
    memory_bytes: int
    limits: CgroupLimits = field(default_factory=CgroupLimits)


@dataclass(frozen=True)
class CpuOffer:
    """`reasons`: why it is less than the host has. `warnings`: why it is more than can be had. Each a sentence."""

    cores: tuple[int, ...]
    topology: tuple[CpuCore, ...]
    memory_bytes: int
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_host() -> Host:
    limits = read_limits(find_cgroups())
    usable = cpu.list_usable_cores()
    # Where the kernel heeds a set of cores, it is in the affinity already; some sandboxes tell it in the cgroup only.
    within = tuple(core for core in usable if limits.cores is None or core in limits.cores) or usable
    return Host(
        online=read_online_cores() or usable,
        usable=within,
        topology=read_topology(within),
        memory_bytes=psutil.virtual_memory().total,
        limits=limits,
    )


def compute_offer(host: Host, wanted_cores: str | None, wanted_bytes: int | None) -> CpuOffer:
    """`wanted_cores` as in "0-3,6"; None: all that there is. Raises ValueError where it cannot be had."""
    cores = cpu.choose_cores(wanted_cores, host.usable) if wanted_cores else _fit_quota(host)
    whole = _whole_cpus(host)
    return CpuOffer(
        cores=cores,
        topology=tuple(core for core in host.topology if core.number in set(cores)),
        memory_bytes=_choose_memory(host, wanted_bytes),
        reasons=tuple(_explain_less(host, wanted_cores, wanted_bytes)),
        warnings=tuple(_warn(host, cores if whole < len(cores) else (), wanted_bytes)),
    )


def _whole_cpus(host: Host) -> int:
    """How many cores its processor time is enough for: a replica with less than a whole one would be held up."""
    cpus = host.limits.cpus
    return len(host.usable) if cpus is None else max(1, math.floor(cpus))


def _fit_quota(host: Host) -> tuple[int, ...]:
    return choose_cores(_whole_cpus(host), dict.fromkeys(host.usable, 0), 1, host.topology)


def _choose_memory(host: Host, wanted_bytes: int | None) -> int:
    limit = host.limits.memory_bytes
    if wanted_bytes is None:
        return host.memory_bytes if limit is None else min(host.memory_bytes, limit)
    if limit is not None and wanted_bytes > limit:
        raise ValueError(
            f"{format_size(wanted_bytes)} of memory cannot be offered: this process's cgroup allows"
            f" {format_size(limit)}; give --memory-bytes {limit} or less, or the cgroup (the container) more"
        )
    return wanted_bytes


def _explain_less(host: Host, wanted_cores: str | None, wanted_bytes: int | None) -> Iterable[str]:
    usable, online, limits = host.usable, host.online, host.limits
    if not wanted_cores and len(usable) < len(online):
        yield f"it may run on cores {cpu.format_cores(usable)} of the host's {cpu.format_cores(online)}"
    if not wanted_cores and limits.cpus is not None and _whole_cpus(host) < len(usable):
        yield (
            f"its cgroup gives it the time of {limits.cpus:.4g} cores (where several agents share this host, tell each"
            " its own with --cores)"
        )
    if not wanted_bytes and limits.memory_bytes is not None and limits.memory_bytes < host.memory_bytes:
        yield f"its cgroup allows {format_size(limits.memory_bytes)} of the host's {format_size(host.memory_bytes)}"


def _warn(host: Host, too_many: Sequence[int], wanted_bytes: int | None) -> Iterable[str]:
    cpus = host.limits.cpus
    if too_many and cpus is not None:
        yield (
            f"cores {cpu.format_cores(too_many)} are offered, and this process's cgroup gives it the time of {cpus:.4g}"
            " cores: replicas will be held up when all compute; offer fewer with --cores"
        )
    if wanted_bytes and wanted_bytes > host.memory_bytes:
        yield (
            f"{format_size(wanted_bytes)} of memory are offered, and this host has {format_size(host.memory_bytes)}:"
            " replicas may be ended for want of it; offer less with --memory-bytes"
        )
