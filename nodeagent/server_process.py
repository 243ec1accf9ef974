"""A model server's process: pinned before it runs, on its own after that, watched and signalled without races."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from modelyard.processes import ProcessIdentity
from nodeagent.replica_folder import MARKER, ReplicaFolder, spares_beside


@dataclass(frozen=True)
class LaunchPlan:
    folder: ReplicaFolder
    command: Callable[[int], Sequence[str]]  # of the descriptor that gets the ready line
    environment: Mapping[str, str]
    cores: Sequence[int]  # empty: as this process
    stdin: int = subprocess.DEVNULL
    # Puts a process, of that pid, where its memory is limited.
    enclose: Callable[[int], None] = lambda _pid: None


class ServerProcess:
    """Held by a pidfd, which means this one process even after its pid was given away again."""

    def __init__(self, identity: ProcessIdentity, marker: str, child: "subprocess.Popen[bytes] | None" = None) -> None:
        """`marker`: what its environment calls its folder. `child`: where it is this process's own.

        Raises ProcessLookupError where it is gone.
        """
        self.identity = identity
        self.marker = marker
        self._child = child
        self._pidfd = os.pidfd_open(identity.pid)

    async def wait(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it; None where it was not our child."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._pidfd)
        return self._child.wait() if self._child else None

    def send_signal(self, number: signal.Signals) -> None:
        """Does nothing where it is gone."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        os.close(self._pidfd)


def launch(plan: LaunchPlan) -> ServerProcess:
    """Starts it in a session of its own, so that no signal meant for the agent reaches it. Blocking.

    Its folder is prepared already. Raises OSError; then no process is left.
    """
    marker = str(plan.folder.path)
    with plan.folder.log.open("ab") as log, plan.folder.ready.open("wb") as ready:
        child = _spawn_pinned(
            plan.command(ready.fileno()),
            plan.cores,
            stdin=plan.stdin,
            stdout=log,
            stderr=log,
            pass_fds=[ready.fileno()],
            cwd=plan.folder.path,
            env={**os.environ, **plan.environment, MARKER: marker},
            start_new_session=True,
        )
    plan.enclose(child.pid)
    try:
        return ServerProcess(ProcessIdentity.of(child.pid), marker, child)
    except (psutil.Error, OSError) as error:
        child.kill()  # whom nobody watches nobody would ever end
        child.wait()
        raise OSError(f"its process cannot be watched: {error}") from error


def _spawn_pinned(command: Sequence[str], cores: Sequence[int], **options: object) -> "subprocess.Popen[bytes]":
    """A child inherits the affinity of the thread that makes it: pinned from its first instruction, with no code of
    ours between fork and exec, which is not safe in a process with threads.
    """
    before = os.sched_getaffinity(0)
    try:
        if cores:
            _pin(cores)
        return subprocess.Popen(command, **options)  # type: ignore[call-overload, no-any-return]
    finally:
        with suppress(OSError):  # none of them is ours any more: the child, if there is one, must not be lost for that
            os.sched_setaffinity(0, before)


def _pin(cores: Sequence[int]) -> None:
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        raise OSError(f"it cannot be pinned to cores {list(cores)}: {error.strerror}") from error


def adopt(identity: ProcessIdentity, marker: str) -> ServerProcess | None:
    """The process that an earlier agent launched with that marker; None where it is gone or another's."""
    try:
        process = ServerProcess(identity, marker)
    except OSError:  # not only where it is gone: the number may be that of a thread by now
        return None
    # The descriptor is held first: from here on the pid cannot become another's unnoticed.
    if _is_marked(identity, marker):
        return process
    process.close()
    return None


def _is_marked(identity: ProcessIdentity, marker: str) -> bool:
    try:
        return identity.is_alive() and _marker_of(psutil.Process(identity.pid)) == marker
    except (psutil.Error, OSError):
        return False


def find_marked(replicas: str, known_sessions: Collection[int] = ()) -> list[ProcessIdentity]:
    """All processes, ours by user, of replicas with folders in `replicas`, and their spares, save in these sessions."""
    folders = (replicas, str(spares_beside(Path(replicas))))
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            marked = os.path.dirname(_marker_of(process)) in folders  # noqa: PTH120
            if marked and os.getsid(process.pid) not in known_sessions:
                found.append(ProcessIdentity.of(process.pid))
    return found


def find_left(leader: ProcessIdentity, marker: str) -> list[psutil.Process]:
    """What a server that has ended left running. Blocking.

    A number that was a session's may be another's by now: the marker tells.
    """
    left = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if os.getsid(pid) == leader.pid != pid and _marker_of(process := psutil.Process(pid)) == marker:
                left.append(process)
    return left


def end_session(leader: ProcessIdentity, marker: str) -> list[int]:
    """Kills what is left; returns the pids. Blocking."""
    killed = []
    for process in find_left(leader, marker):
        with suppress(psutil.Error):
            process.kill()
            killed.append(process.pid)
    return killed


def _marker_of(process: psutil.Process) -> str:
    """Its marker; "" where it has none or is not ours to look at."""
    try:
        return process.environ().get(MARKER, "")
    except (psutil.Error, OSError):
        return ""
