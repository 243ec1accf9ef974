"""Files as the kernel shows a host: /sys of its cores, /proc/self and /sys/fs/cgroup of a process."""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest


def write_tree(folder: Path, files: Mapping[str, str]) -> Path:
    """Of paths below `folder` to what is in them, each with the line end that the kernel adds."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return folder


def cpu_files(number: int, siblings: str, socket: int, core_id: int) -> dict[str, str]:
    """What the kernel tells of one core that is online."""
    folder = f"cpu{number}/topology"
    return {
        f"{folder}/core_cpus_list": siblings,
        f"{folder}/physical_package_id": str(socket),
        f"{folder}/core_id": str(core_id),
    }


class CgroupTree:
    """A folder that does as cgroupfs of version 2 with the memory controller: a new folder has its files, and one
    without folders and living processes can be removed. It takes nobody out of a cgroup who is put into another."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        root.mkdir()
        _fill_cgroup(root)
        real_mkdir, real_rmdir = Path.mkdir, Path.rmdir

        def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
            is_new = path.is_relative_to(root) and not path.exists()
            real_mkdir(path, mode, parents, exist_ok)
            if is_new:
                _fill_cgroup(path)

        def rmdir(path: Path) -> None:
            if path.is_relative_to(root):
                _remove_cgroup(path)
            else:
                real_rmdir(path)

        monkeypatch.setattr(Path, "mkdir", mkdir)
        monkeypatch.setattr(Path, "rmdir", rmdir)


def _fill_cgroup(folder: Path) -> None:
    files = {
        "cgroup.controllers": "cpu memory pids",
        "cgroup.subtree_control": "",
        "cgroup.procs": "",
        "cgroup.kill": "",
        "memory.max": "max",
        "memory.swap.max": "max",
        "memory.oom.group": "0",
        "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0",
    }
    write_tree(folder, files)


def _remove_cgroup(folder: Path) -> None:
    kill = folder / "cgroup.kill"
    lives = (folder / "cgroup.procs").read_text().strip() and (not kill.exists() or kill.read_text().strip() != "1")
    if lives or any(path.is_dir() for path in folder.iterdir()):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    shutil.rmtree(folder)
