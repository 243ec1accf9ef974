"""How many servers start on a core at a time: two, since a start waits for its disk and its agent, too.

Were all that are pinned to a core begun at once they would all be ready at the end, and what serves there already would
starve meanwhile; a few at a time, the first is ready almost as soon as it would be alone, and the last hardly later.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_PER_CORE = 2
# What takes longer waits for a disk, loads what is large, or gets little of its cores because others want them as well:
# then as many as come must ask for their part, or the last would be ready late.
_LONGEST_S = 0.5


@dataclass(eq=False)
class _Waiting:
    cores: Sequence[int]
    turn: "asyncio.Future[None]"


@dataclass
class _Start:
    cores: Sequence[int]
    end: asyncio.TimerHandle


class StartSlots:
    """On each core first come, first served; for one event loop. What has no cores of its own never waits."""

    def __init__(self, longest_s: float = _LONGEST_S) -> None:
        self._longest_s = longest_s
        self._waiting: list[_Waiting] = []
        self._starts: dict[str, _Start] = {}

    async def take(self, replica_id: str, cores: Sequence[int]) -> None:
        """Returns when it is its turn; its slots are given back for it after a moment."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(cores, loop.create_future())
        self._waiting.append(waiting)
        self._admit()
        try:
            await waiting.turn
            self._starts[replica_id] = _Start(cores, loop.call_later(self._longest_s, self.give_back, replica_id))
        finally:
            self._waiting.remove(waiting)
            self._admit()  # where it was cancelled, its turn may have come all the same

    def give_back(self, replica_id: str) -> None:
        """Does nothing where it has none."""
        if start := self._starts.pop(replica_id, None):
            start.end.cancel()
            self._admit()

    def _admit(self) -> None:
        """Whoever waits for a core holds its place there, so that one who wants several is not passed for ever."""
        taken = Counter(core for start in self._starts.values() for core in start.cores)
        for waiting in self._waiting:
            if not waiting.turn.done() and all(taken[core] < _PER_CORE for core in waiting.cores):
                waiting.turn.set_result(None)
            taken.update(waiting.cores)
