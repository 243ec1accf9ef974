"""How much memory Envoy may take where nobody says."""

from collections.abc import Iterator
from pathlib import Path

import psutil

_LEAST_BYTES = 256 << 20


def choose_memory_limit_bytes() -> int:
    """A quarter of what this process may use, since replicas may share the host."""
    return max(find_memory_bytes() // 4, _LEAST_BYTES)


def find_memory_bytes(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> int:
    """What the host has, or the control group of this process where that is less. See cgroups(7)."""
    return min([psutil.virtual_memory().total, *_list_limits(groups, mounted)])


def _list_limits(groups: Path, mounted: Path) -> Iterator[int]:
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            yield from _list_limits_upwards(mounted, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _list_limits_upwards(mounted / "memory", path, "memory.limit_in_bytes")


def _list_limits_upwards(root: Path, path: str, name: str) -> Iterator[int]:
    """Of the group and all above it. In a container some of them, or all but the root, are out of sight."""
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        if folder.is_relative_to(root) and (folder / name).exists():
            text = (folder / name).read_text().strip()
            if text.isdigit():  # "max" is no limit
                yield int(text)
