"""Model servers that are kept in waiting, so that a replica need not wait for the imports of its server.

docs/decisions/spare-servers.md says why there are such, and what they cost.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from modelyard.backoff import Backoff
from nodeagent.server_process import LaunchPlan, ServerProcess
from nodeagent.spare_server import SpareError, SpareKind, SpareServer, start_spare

WaitQuiet = Callable[[], Awaitable[None]]

log = logging.getLogger(__name__)

# How long the start of a replica holds up the next spare, where the replica does not become ready before.
_QUIET_S = 3.0
# One that ended sooner than this has something wrong with it.
_STABLE_S = 60.0


class SpareServers:
    """Of one agent, for one event loop. `count`: how many of each library; 0: none at all."""

    def __init__(self, spares: Path, count: int) -> None:
        self._spares = spares
        self._count = count
        self._shelves: dict[str, _Shelf] = {}
        self._starting: set[str] = set()
        self._last_start = -_QUIET_S

    def want(self, kind: SpareKind) -> None:
        """From now on; one library's spares are all of the kind that was wanted last."""
        if not self._count:
            return
        shelf = self._shelves.get(kind.library)
        if shelf is None:
            shelf = self._shelves[kind.library] = _Shelf(kind, self._count, self._spares, self._wait_quiet)
        shelf.want(kind)

    async def hand_over(self, library: str, environment: Mapping[str, str], plan: LaunchPlan) -> ServerProcess | None:
        """The server of `plan`, which was a spare until now; None where none is at hand: then it is to be launched.

        `environment`: the part of the plan's that the library reads when it is imported.
        """
        kind = SpareKind.of(library, environment)
        self.want(kind)
        shelf = self._shelves.get(library)
        return await shelf.hand_over(kind, plan) if shelf else None

    def note_start(self, replica_id: str) -> None:
        """It needs the processors now: the next spare can wait."""
        self._starting.add(replica_id)
        self._last_start = asyncio.get_running_loop().time()

    def note_started(self, replica_id: str) -> None:
        """It is ready, or has ended."""
        self._starting.discard(replica_id)

    async def close(self) -> None:
        """Ends all of them."""
        await asyncio.gather(*(shelf.close() for shelf in self._shelves.values()))

    async def _wait_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        while self._starting and loop.time() < self._last_start + _QUIET_S:
            await asyncio.sleep(0.1)


class _Shelf:
    """The spares of one library."""

    def __init__(self, kind: SpareKind, count: int, spares: Path, wait_quiet: WaitQuiet) -> None:
        self._kind = kind
        self._count = count
        self._spares = spares
        self._wait_quiet = wait_quiet
        # Each with the task that waits for its death.
        self._ready: dict[SpareServer, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._backoff = Backoff(first_s=1.0, longest_s=60.0)
        self._pause_s = 0.0
        self._keeping = asyncio.create_task(self._keep())

    def want(self, kind: SpareKind) -> None:
        self._kind = kind
        self._changed.set()

    async def hand_over(self, kind: SpareKind, plan: LaunchPlan) -> ServerProcess | None:
        spare = next((spare for spare in self._ready if spare.kind == kind), None)
        if spare is None:
            return None
        watch = self._ready.pop(spare)
        self._changed.set()
        try:
            watch.cancel()
            await asyncio.wait({watch})
            process = await spare.hand_over(plan)
        except SpareError as error:
            log.warning("a spare server cannot take over, so another is started: %s", error)
            await spare.end()
            return None
        except BaseException:
            await spare.end()
            raise
        self._backoff.reset()
        return process

    async def close(self) -> None:
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        while self._ready:  # one may die while another is dropped
            await self._drop(next(iter(self._ready)))

    async def _keep(self) -> None:
        try:
            await self._fill()
        except Exception:
            log.exception("no spare servers for %s any more: a defect of the agent", self._kind.library)

    async def _fill(self) -> None:
        while True:
            unwanted = [spare for spare in self._ready if spare.kind != self._kind]
            if unwanted:
                await self._drop(unwanted[0])
            elif len(self._ready) < self._count:
                await self._add()
            else:
                self._changed.clear()
                await self._changed.wait()

    async def _drop(self, spare: SpareServer) -> None:
        watch = self._ready.pop(spare)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await spare.end()

    async def _add(self) -> None:
        await asyncio.sleep(self._pause_s)
        await self._wait_quiet()
        try:
            spare = await start_spare(self._kind, self._spares)
        except SpareError as error:
            self._pause_s = self._backoff.next_s()
            log.warning("no spare server for %s: %s", self._kind.library, error)
        else:
            self._pause_s = 0.0
            self._ready[spare] = asyncio.create_task(self._watch(spare))
            log.debug("process %d waits as a spare server for %s", spare.pid, self._kind.library)

    async def _watch(self, spare: SpareServer) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await spare.wait_gone()
        del self._ready[spare]
        if loop.time() - began > _STABLE_S:
            self._backoff.reset()
        self._pause_s = self._backoff.next_s()
        log.warning("a spare server for %s ended without being asked to; another takes its place", spare.kind.library)
        self._changed.set()
        await spare.end()
