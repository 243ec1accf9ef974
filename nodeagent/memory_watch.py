"""How much of the host's memory each replica holds, read for all of them at once.

Counted is what the kernel cannot take back: anonymous memory of each process of the replica's session, swapped or not,
and shared memory once, as the process that maps most of it holds it. Pages of files (libraries, a model that is mapped)
are left out: replicas share them, and the kernel drops them where memory is short. Proportional figures (PSS) would
tell more of shared memory, but for them the kernel walks all pages of a process, some 20 ms for each GiB, and lets it
map none meanwhile; these here are counters.
"""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_SIZES = ("RssAnon", "RssShmem", "VmSwap")

Tell = Callable[[int], None]


class MemoryWatch:
    """Of all replicas of a node; for one event loop."""

    def __init__(self, interval_s: float = _INTERVAL_S, proc: Path = Path("/proc")) -> None:
        self._interval_s = interval_s
        self._proc = proc
        self._followers: dict[int, Tell] = {}

    def follow(self, session: int, tell: Tell) -> None:
        """Tells the bytes that the processes of this session hold, after each reading, until `leave`."""
        self._followers[session] = tell

    def leave(self, session: int) -> None:
        self._followers.pop(session, None)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            if self._followers:
                await self._read()

    async def _read(self) -> None:
        try:
            # In a thread: with thousands of processes on the host it takes milliseconds.
            held = await asyncio.to_thread(read_sessions, frozenset(self._followers), self._proc)
        except OSError as error:
            log.warning("the memory of the replicas cannot be read: %s", error)
            return
        for session, size_bytes in held.items():
            if tell := self._followers.get(session):
                tell(size_bytes)


def read_sessions(
    sessions: Collection[int], proc: Path = Path("/proc"), session_of: Callable[[int], int] = os.getsid
) -> Mapping[int, int]:
    """Bytes that the processes of each of these sessions hold; one without processes is left out. Raises OSError."""
    anonymous: dict[int, int] = defaultdict(int)
    shared: dict[int, int] = defaultdict(int)
    for pid in _list_pids(proc):
        with suppress(OSError, ValueError):  # it has ended meanwhile
            if (session := session_of(pid)) in sessions:
                status = _read_status(proc / str(pid) / "status")
                anonymous[session] += status.get("RssAnon", 0) + status.get("VmSwap", 0)
                shared[session] = max(shared[session], status.get("RssShmem", 0))
    return {session: anonymous[session] + shared[session] for session in anonymous}


def _list_pids(proc: Path) -> list[int]:
    return [int(path.name) for path in proc.iterdir() if path.name.isdigit()]


def _read_status(path: Path) -> dict[str, int]:
    """Bytes of `_SIZES`, which proc(5)'s status tells in kilobytes; nothing of a zombie."""
    sizes = {}
    for line in path.read_text(errors="replace").splitlines():  # a process may call itself whatever it likes
        key, _, value = line.partition(":")
        if key in _SIZES:
            sizes[key] = int(value.removesuffix(" kB")) << 10
    return sizes
