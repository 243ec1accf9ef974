"""Keeps the lineage store level with the database, which has every fact first.

The database's `recorded` flag is the outbox: a crash between the two is healed at the next start, since recording
twice is recording once. At each start the flags themselves are checked: a lineage store that was lost, or restored
from a backup, is filled again. It lacks all facts from some moment on then, for they are recorded in order, save for
those that were refused at first: so it is enough to go back from the newest to the first page that is complete.
`modelyard db check --lineage` asks for all of them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from controlplane.domain import Fact, Version
from controlplane.registry.store import RegistryStore
from modelyard.backoff import Backoff
from modelyard.errors import UnavailableError
from modelyard.resource_names import VersionName
from modelyard.uninterrupted import run_to_end

log = logging.getLogger(__name__)

# In one transaction: ten times as fast as one by one, and short enough to wait for when the controller ends.
_BATCH = 500
_CHECKED_AT_ONCE = 200


class Lineage(Protocol):
    """Blocking. UnavailableError where the store cannot be used now; any other error is that of what was recorded."""

    def has(self, facts: Sequence[Fact]) -> Collection[int]:
        """The numbers of those that are recorded."""

    def record(self, entries: Sequence[tuple[Fact, Version]]) -> None:
        """Each fact with its version as it is now; does nothing for those that are recorded already."""


class LineageRecorder:
    """One task that records whatever is not recorded yet, and after a failure tries again, ever more slowly."""

    def __init__(
        self,
        store: RegistryStore,
        lineage: Lineage,
        *,
        first_delay_s: float = 0.2,
        longest_delay_s: float = 60.0,
        look_again_s: float = 30.0,
    ) -> None:
        self._store = store
        self._lineage = lineage
        self._backoff = Backoff(first_delay_s, longest_delay_s)
        self._look_again_s = look_again_s
        self._is_checked = False
        self._at_once = _BATCH
        self._refused: set[int] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="lineage recorder")

    def wake(self) -> None:
        """There may be something to record. Costs nothing, so call it after every change."""
        self._wake.set()

    async def close(self) -> None:
        """What is not recorded by then is recorded after the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if is_level := await self._catch_up():
                self._backoff.reset()
            with contextlib.suppress(TimeoutError):
                # Also unasked: a caller who was cut off while the database wrote has told nobody of the fact.
                delay_s = self._look_again_s if is_level else self._backoff.next_s()
                await asyncio.wait_for(self._wake.wait(), delay_s)

    async def _catch_up(self) -> bool:
        """Whether the lineage store now has every fact."""
        try:
            if not self._is_checked:
                await self._walk(self._check_page)
                self._is_checked = True
            await self._walk(self._record_page)
            return not self._refused
        except UnavailableError as error:
            # One that is slow may have answered in time for less.
            self._at_once = max(1, self._at_once // 2)
            log.warning("lineage is behind: %s", error)
            return False
        except Exception as error:  # whatever it was, facts must not go unrecorded until the next start
            log.warning("lineage is behind: %s", error, exc_info=True)
            return False

    async def _walk(self, act: Callable[[int], int]) -> None:
        """Lets `act` do one page after another, each from the fact's number that it returned, until that is 0."""
        number = 0
        while True:
            # Its thread must be out of the stores before they are closed.
            number = await run_to_end(asyncio.to_thread(act, number))
            if not number:
                return

    def _check_page(self, before: int) -> int:
        page = self._store.list_facts(True, before, _CHECKED_AT_ONCE, newest_first=True)
        present = self._lineage.has(page) if page else ()
        missing = [fact.number for fact in page if fact.number not in present]
        if not missing:
            return 0
        self._store.mark_recorded(missing, False)
        return page[-1].number

    def _record_page(self, after: int) -> int:
        page = self._store.list_facts(False, after, self._at_once)
        if not page:
            return 0
        self._record(page)
        self._at_once = min(_BATCH, self._at_once * 2)
        return page[-1].number

    def _record(self, facts: Sequence[Fact]) -> None:
        """In halves, where not all of them are taken: one that is refused holds up no other."""
        try:
            self._lineage.record(self._with_versions(facts))
        except UnavailableError:
            raise
        except Exception:
            if len(facts) == 1:
                self._refuse(facts[0])
                return
            middle = len(facts) // 2
            self._record(facts[:middle])
            self._record(facts[middle:])
            return
        numbers = [fact.number for fact in facts]
        self._store.mark_recorded(numbers, True)
        self._refused.difference_update(numbers)

    def _with_versions(self, facts: Sequence[Fact]) -> Sequence[tuple[Fact, Version]]:
        versions = self._store.get_versions({VersionName(fact.model, fact.version) for fact in facts})
        return [(fact, versions[VersionName(fact.model, fact.version)]) for fact in facts]

    def _refuse(self, fact: Fact) -> None:
        if fact.number not in self._refused:  # it is tried again with every other one
            log.exception(
                "the lineage store does not take that %s@%d was %s; it is tried again later",
                fact.model,
                fact.version,
                fact.kind.value,
            )
        self._refused.add(fact.number)
