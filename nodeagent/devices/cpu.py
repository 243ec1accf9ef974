"""CPU cores: how people write sets of them, which are there, and what makes a process keep to its own."""

import os
from collections.abc import Iterable
from pathlib import Path

# Linux numbers no more than this (NR_CPUS); a mistyped range is not to fill the memory.
_LAST_CORE = 8191
# Each library reads its own. onnxruntime reads none of them: its thread count is an option of its sessions.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_TUNABLES, _HUGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"


def parse_cores(text: str) -> tuple[int, ...]:
    """The cores of "0-3,6", sorted. Raises ValueError that says what is wanted."""
    cores: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{text!r} is not a set of cores: wanted numbers and ranges, as in 0-3,6")
        if int(first) > _LAST_CORE or int(last or first) > _LAST_CORE:
            raise ValueError(f"{text!r} is not a set of cores: their numbers go up to {_LAST_CORE}")
        cores.update(range(int(first), int(last if dash else first) + 1))
    if not cores:
        raise ValueError(f"{text!r} names no core: a range goes from the lower number to the higher, as in 0-3")
    return tuple(sorted(cores))


def format_cores(cores: Iterable[int]) -> str:
    """What `parse_cores` reads as these: "0-3,6"."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def list_usable_cores() -> tuple[int, ...]:
    """Those that this process may run on."""
    return tuple(sorted(os.sched_getaffinity(0)))


def choose_cores(wanted: str | None, usable: tuple[int, ...]) -> tuple[int, ...]:
    """All that are usable, or those that `wanted` names. Raises ValueError where one of them cannot be used."""
    if wanted is None:
        return usable
    cores = parse_cores(wanted)
    if missing := [core for core in cores if core not in usable]:
        raise ValueError(f"cores {missing} cannot be used here: this process may run on {list(usable)}")
    return cores


def thread_environment(threads: int) -> dict[str, str]:
    """What limits the numeric libraries to `threads` threads each."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


def server_environment(threads: int) -> dict[str, str]:
    """What a model server is started with: `thread_environment`, and huge pages for what it allocates.

    A model whose weights are larger than the caches of the CPU spends its time on reading them, and, in pages of 4 KiB,
    a good part of that on finding them: docs/decisions/huge-pages.md tells what was measured. Linux gives huge
    pages to who asks for them (`madvise`, as most distributions have it), and glibc asks since 2.35; elsewhere the
    variable means nothing. What the agent was told of glibc stays.
    """
    told = os.environ.get(_TUNABLES, "")
    asked = told if _HUGE_PAGES in told else ":".join(filter(None, (told, f"{_HUGE_PAGES}=1")))
    return {**thread_environment(threads), _TUNABLES: asked}


def read_cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's name as the kernel tells it; else the machine's architecture, and on ARM which core it is."""
    told: dict[str, str] = {}
    for line in cpuinfo.read_text().splitlines():
        key, _, value = line.partition(":")
        told.setdefault(key.strip(), " ".join(value.split()))
    part = [f"implementer {told.get('CPU implementer', '?')} part {told['CPU part']}"] if "CPU part" in told else []
    return told.get("model name") or " ".join([os.uname().machine, *part])
