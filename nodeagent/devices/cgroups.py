"""Where this process's cgroups are in the file system: cgroups(7), of version 1, version 2, or both at once.

`/proc/self/cgroup` tells its path in each hierarchy, `/proc/self/mountinfo` where each is mounted and which part of it
is. In a container both begin at the container's own cgroup, or both show the host's whole path; what is above the mount
cannot be seen.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC_SELF = Path("/proc/self")
# The key of version 2's one hierarchy; version 1 has a hierarchy for each controller.
UNIFIED = ""


@dataclass(frozen=True)
class Cgroup:
    """`folder`: the process's own. `top`: the uppermost above it, or itself, that can be seen."""

    folder: Path
    top: Path

    def upwards(self) -> Iterator[Path]:
        """From its own to the uppermost."""
        folder = self.folder
        yield folder
        while folder != self.top:
            folder = folder.parent
            yield folder


@dataclass(frozen=True)
class _Mount:
    root: str  # what of the hierarchy is mounted
    point: Path
    controllers: frozenset[str]


def find_cgroups(proc_self: Path = PROC_SELF) -> Mapping[str, Cgroup]:
    """By controller of version 1 ("cpu", "memory"), and UNIFIED; empty where the kernel tells none."""
    try:
        # Names of folders are bytes, of whatever encoding: that of a disk that somebody mounted is none of ours.
        paths = _read_paths((proc_self / "cgroup").read_text(errors="surrogateescape"))
        mounts = _read_mounts((proc_self / "mountinfo").read_text(errors="surrogateescape"))
    except OSError:
        return {}
    found: dict[str, Cgroup] = {}
    for mount in mounts:
        for controller in mount.controllers & paths.keys():
            if controller not in found and (cgroup := _locate(mount, paths[controller])):
                found[controller] = cgroup
    return found


def _read_paths(text: str) -> dict[str, str]:
    """Of lines such as "4:cpu,cpuacct:/user" and "0::/user"."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def _read_mounts(text: str) -> list[_Mount]:
    """Of proc(5)'s mountinfo: root and mount point are its fields 4 and 5, and the type comes after a lone dash."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, *_, options) = before.split(), after.split()
        if kind in ("cgroup", "cgroup2"):
            controllers = {UNIFIED} if kind == "cgroup2" else set(options.split(","))
            mounts.append(_Mount(_unescape(fields[3]), Path(_unescape(fields[4])), frozenset(controllers)))
    return mounts


def _unescape(text: str) -> str:
    """Blanks and the like are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _locate(mount: _Mount, path: str) -> Cgroup | None:
    """None where the mount is not there, as one that was hidden by another is."""
    root = mount.root.rstrip("/")
    is_below = (path + "/").startswith(root + "/") and ".." not in path.split("/")
    folder = mount.point / path[len(root) :].lstrip("/") if is_below else mount.point
    if not folder.is_dir():
        folder = mount.point
    return Cgroup(folder, mount.point) if folder.is_dir() else None
