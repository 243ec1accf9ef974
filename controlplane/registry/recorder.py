"""Keeps the lineage store level with the database, which has every version first.

The database's `recorded` flag is the outbox: a crash between the two is healed at the next start, since recording
twice is recording once. At each start the flags themselves are checked: a lineage store that was lost, or restored
from a backup, is filled again.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from controlplane.domain import Version
from controlplane.registry.store import RegistryStore
from controlplane.registry.uninterrupted import run_to_end
from modelyard.backoff import Backoff
from modelyard.errors import UnavailableError

log = logging.getLogger(__name__)

_BATCH = 100


class Lineage(Protocol):
    """Blocking. UnavailableError where the store cannot be used now; any other error is that one version's."""

    def has(self, version: Version) -> bool: ...

    def record(self, version: Version) -> None:
        """Does nothing where it is recorded already."""


class LineageRecorder:
    """One task that records whatever is not recorded yet, and after a failure tries again, ever more slowly."""

    def __init__(
        self, store: RegistryStore, lineage: Lineage, *, first_delay_s: float = 0.2, longest_delay_s: float = 60.0
    ) -> None:
        self._store = store
        self._lineage = lineage
        self._backoff = Backoff(first_delay_s, longest_delay_s)
        self._is_checked = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="lineage recorder")

    def wake(self) -> None:
        """There may be something to record. Costs nothing, so call it after every registration."""
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
                await asyncio.wait_for(self._wake.wait(), None if is_level else self._backoff.next_s())

    async def _catch_up(self) -> bool:
        """Whether the lineage store now has every version."""
        try:
            if not self._is_checked:
                self._is_checked = await self._do_all(self._check, recorded=True)
            return await self._do_all(self._record, recorded=False) and self._is_checked
        except Exception as error:  # whatever it was, versions must not go unrecorded until the next start
            log.warning("lineage is behind: %s", error, exc_info=not isinstance(error, UnavailableError))
            return False

    async def _do_all(self, act: Callable[[Version], None], *, recorded: bool) -> bool:
        """Whether `act` succeeded for every version that is `recorded`, or not; one that fails holds up no other."""
        succeeded = True
        async for version in self._list(recorded):
            try:
                # Its thread must be out of the stores before they are closed.
                await run_to_end(asyncio.to_thread(act, version))
            except UnavailableError:
                raise
            except Exception:
                log.exception("the lineage store does not take %s; it is tried again later", version.model_id)
                succeeded = False
        return succeeded

    async def _list(self, recorded: bool) -> AsyncIterator[Version]:
        after = ("", 0)
        while page := await run_to_end(asyncio.to_thread(self._store.list_for_lineage, recorded, after, _BATCH)):
            for version in page:
                yield version
            after = (page[-1].model, page[-1].number)

    def _check(self, version: Version) -> None:
        if not self._lineage.has(version):
            self._store.mark_recorded(version.model, version.number, False)

    def _record(self, version: Version) -> None:
        self._lineage.record(version)
        self._store.mark_recorded(version.model, version.number, True)
