"""A model server's process: pinned before it runs, on its own after that, watched and signalled without races."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from modelyard.processes import ProcessIdentity
from nodeagent.replica_folder import MARKER, ReplicaFolder


@dataclass(frozen=True)
class LaunchPlan:
    folder: ReplicaFolder
    command: Callable[[int], Sequence[str]]  # of the descriptor that gets the ready line
    environment: Mapping[str, str]
    cores: Sequence[int]  # empty: as this process


class ServerProcess:
    """Held by a pidfd, which means this one process even after its pid was given away again."""

    def __init__(self, identity: ProcessIdentity, child: "subprocess.Popen[bytes] | None" = None) -> None:
        """`child`: where it is this process's own. Raises ProcessLookupError where it is gone."""
        self.identity = identity
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
    with plan.folder.log.open("ab") as log, plan.folder.ready.open("wb") as ready:
        child = _spawn_pinned(
            plan.command(ready.fileno()),
            plan.cores,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[ready.fileno()],
            cwd=plan.folder.path,
            env={**os.environ, **plan.environment, MARKER: str(plan.folder.path)},
            start_new_session=True,
        )
    try:
        return ServerProcess(ProcessIdentity.of(child.pid), child)
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


def adopt(identity: ProcessIdentity, folder: ReplicaFolder) -> ServerProcess | None:
    """The process that an earlier agent launched in `folder`; None where it is gone or another's."""
    try:
        process = ServerProcess(identity)
    except OSError:  # not only where it is gone: the number may be that of a thread by now
        return None
    # The descriptor is held first: from here on the pid cannot become another's unnoticed.
    if _is_replica(identity, folder):
        return process
    process.close()
    return None


def _is_replica(identity: ProcessIdentity, folder: ReplicaFolder) -> bool:
    try:
        return identity.is_alive() and _folder_of(psutil.Process(identity.pid)) == str(folder.path)
    except (psutil.Error, OSError):
        return False


def find_marked(folders: str, known_sessions: Collection[int] = ()) -> list[ProcessIdentity]:
    """All processes, ours by user, whose replica's folder lies in `folders`, save those in these sessions."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            marked = os.path.dirname(_folder_of(process)) == folders  # noqa: PTH120
            if marked and os.getsid(process.pid) not in known_sessions:
                found.append(ProcessIdentity.of(process.pid))
    return found


def _folder_of(process: psutil.Process) -> str:
    """Its marker; "" where it has none or is not ours to look at."""
    try:
        return process.environ().get(MARKER, "")
    except (psutil.Error, OSError):
        return ""


def describe_exit(code: int | None, last_words: str) -> str:
    """How a server ended, in a sentence. `code` as ServerProcess.wait returns it."""
    words = f": {last_words}" if last_words else ""
    if code is None:
        return f"its process ended{words}"
    if code >= 0:
        return f"its process ended with code {code}{words}"
    hint = "; the kernel does so when memory runs out" if -code == signal.SIGKILL else words
    return f"its process was killed by {_name_signal(-code)}{hint}"


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
