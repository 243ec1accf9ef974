"""A cgroup of version 2 for each replica, which the kernel holds to the replica's memory (cgroup-v2.rst).

A cgroup whose children are to be limited may have no process of its own. So below the cgroup that the agent was given,
it makes `agent` for itself, and `replicas` with a cgroup for each replica:

    GIVEN/agent                  the agent
    GIVEN/replicas/REPLICA-ID    memory.max, memory.swap.max, memory.oom.group

An agent that comes back finds itself in GIVEN, or in GIVEN/agent where what starts it puts it there (systemd's
DelegateSubgroup=).
"""

import logging
import os
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import FailedPreconditionError
from nodeagent.devices.cgroups import UNIFIED, Cgroup, find_cgroups
from nodeagent.devices.memory_box import MemoryBox, NoBox

log = logging.getLogger(__name__)

_AGENT, _REPLICAS = "agent", "replicas"
# A killed process is gone from its cgroup a moment later only.
_TRIES, _PAUSE_S = 20, 0.01


@dataclass(frozen=True)
class _Counts:
    """Of memory.events: how often a limit of this cgroup left no memory, and processes killed for want of any."""

    limits_reached: int = 0
    kills: int = 0


class CgroupBox:
    """A MemoryBox. `replicas`: the cgroup below which each replica gets its own."""

    def __init__(self, replicas: Path) -> None:
        self._replicas = replicas
        # What was counted before: a cgroup that could not be removed goes on counting.
        self._earlier: dict[str, _Counts] = {}

    def put(self, replica_id: str, pid: int, limit_bytes: int) -> None:
        folder = self._replicas / replica_id
        try:
            folder.mkdir(exist_ok=True)
            self._earlier[replica_id] = _read_counts(folder)
            _write(folder / "memory.max", str(limit_bytes or "max"))
            for name, value in (("memory.swap.max", "0" if limit_bytes else "max"), ("memory.oom.group", "1")):
                with suppress(FileNotFoundError):  # no swap here; an older kernel
                    _write(folder / name, value)
            # It has begun already, and loads nothing large before it has read its arguments. What it holds by now stays
            # charged to the agent: a few MiB.
            _write(folder / "cgroup.procs", str(pid))
        except OSError as error:
            log.warning("replica %s: its memory is watched, and not limited by the kernel: %s", replica_id, error)

    def oom_kills(self, replica_id: str) -> int:
        now, before = _read_counts(self._replicas / replica_id), self._earlier.get(replica_id, _Counts())
        # Where its own limit was not reached, another's was: the host's, or that of all replicas together.
        return now.kills - before.kills if now.limits_reached > before.limits_reached else 0

    def remove(self, replica_id: str) -> None:
        folder = self._replicas / replica_id
        self._earlier.pop(replica_id, None)
        if not folder.exists():
            return
        with suppress(OSError):  # an older kernel has none
            _write(folder / "cgroup.kill", "1")
        if not _remove_empty(folder):
            log.warning("replica %s: its cgroup %s is still in use", replica_id, folder)

    def remove_all_but(self, replica_ids: Collection[str]) -> None:
        for folder in self._replicas.iterdir():
            if folder.is_dir() and folder.name not in replica_ids:
                self.remove(folder.name)


def open_box() -> MemoryBox:
    """For this process, the agent, before it has children. One that does nothing where it may limit nothing."""
    try:
        cgroup = find_cgroups().get(UNIFIED)
        if cgroup is None:
            raise FailedPreconditionError("this host has no cgroups of version 2")
        return make_boxes(cgroup, os.getpid())
    except FailedPreconditionError as error:
        log.info("the memory of replicas is watched, and not limited by the kernel: %s", error.message)
        return NoBox()


def make_boxes(own: Cgroup, pid: int) -> CgroupBox:
    """`own`: that of process `pid`, the agent's. Raises FailedPreconditionError that says why the agent may not."""
    given = own.folder.parent if own.folder.name == _AGENT and own.folder != own.top else own.folder
    try:
        if "memory" not in (given / "cgroup.controllers").read_text().split():
            raise FailedPreconditionError(f"the memory controller is not in cgroup {given}")
        _make_room(given, pid)
        for folder in (given, given / _REPLICAS):
            folder.mkdir(exist_ok=True)
            _write(folder / "cgroup.subtree_control", "+memory")
    except OSError as error:
        raise FailedPreconditionError(f"cgroup {given} is not this agent's to divide: {error}") from error
    return CgroupBox(given / _REPLICAS)


def _read_counts(folder: Path) -> _Counts:
    """Zeros where there is none."""
    try:
        lines = (line.split() for line in (folder / "memory.events").read_text().splitlines())
        counts = {key: int(count) for key, count in lines}
    except (OSError, ValueError):
        return _Counts()
    return _Counts(counts.get("oom", 0), counts.get("oom_kill", 0))


def _make_room(given: Path, pid: int) -> None:
    """Moves the agent out of the cgroup that is to have children. Another's process is none of its business."""
    others = [process for process in _processes(given) if process != pid]
    if others:
        raise FailedPreconditionError(
            f"cgroup {given} has other processes, such as process {others[0]}: give the agent a cgroup of its own"
        )
    if pid in _processes(given):
        agent = given / _AGENT
        agent.mkdir(exist_ok=True)
        _write(agent / "cgroup.procs", str(pid))


def _processes(cgroup: Path) -> list[int]:
    return [int(line) for line in (cgroup / "cgroup.procs").read_text().split()]


def _write(path: Path, value: str) -> None:
    """In one call, as the kernel wants it; a file that is not there is not made."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _remove_empty(folder: Path) -> bool:
    for _ in range(_TRIES):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False
