"""Which processes of this host belong to an MPS control daemon: a record tells, or the folder of its sockets.

A number alone tells nothing: after the host has booted, or after a long time, it is another process's, or that of a
session whose leader has ended.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from modelyard.processes import ProcessIdentity
from nodeagent.devices.mps_control import PROGRAM

# What the daemon's name and that of its servers have in common, as far as the kernel keeps the name of a process.
_NAME = "nvidia-cuda-mps"


@dataclass(frozen=True)
class DaemonRecord:
    """What a file remembers of a daemon: the GPU that it serves, and its process."""

    uuid: str = ""
    identity: ProcessIdentity | None = None


def read_record(path: Path) -> DaemonRecord:
    """An empty one where there is none that can be read."""
    with suppress(OSError, ValueError):
        uuid, pid, start_time = path.read_text().split()
        return DaemonRecord(uuid, ProcessIdentity(int(pid), float(start_time)))
    return DaemonRecord()


def find_daemon(pipe: Path) -> ProcessIdentity | None:
    """One with its sockets there of which no record tells: an agent that was killed had just started it. Blocking."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            names = [Path(word).name for word in process.cmdline()]
            if PROGRAM in names and names[-1] == "-f" and _is_told_of(process, pipe):
                return ProcessIdentity.of(process.pid)
    return None


def find_session(leader: ProcessIdentity, pipe: Path) -> list[ProcessIdentity]:
    """A daemon and its servers, as far as they live: these go on without a daemon that was killed. Blocking."""
    found = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if os.getsid(pid) == leader.pid and _is_mps(psutil.Process(pid), pipe):
                found.append(ProcessIdentity.of(pid))
    # Its number may be another's by now, who leads a session as well.
    is_reused = any(identity.pid == leader.pid and identity != leader for identity in found)
    return [] if is_reused else found


def _is_mps(process: psutil.Process, pipe: Path) -> bool:
    return process.name().startswith(_NAME) or _is_told_of(process, pipe)


def _is_told_of(process: psutil.Process, pipe: Path) -> bool:
    return process.environ().get("CUDA_MPS_PIPE_DIRECTORY") == str(pipe)
