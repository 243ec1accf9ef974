"""Tells the lineage store of every version, after the database has it: at start, and after each registration.

The database's `recorded` flag is the outbox. A crash between the two is healed at the next start, since recording
twice is recording once.
"""

import asyncio
import contextlib
import logging
from typing import Protocol

from controlplane.domain import Version
from controlplane.registry.store import RegistryStore
from controlplane.registry.uninterrupted import run_to_end
from modelyard.errors import YardError

log = logging.getLogger(__name__)

_BATCH = 100


class Lineage(Protocol):
    def record(self, version: Version) -> None:
        """Blocking. Does nothing where it is recorded already; UnavailableError where it cannot be now."""


class LineageRecorder:
    """One task that records whatever is not recorded yet, and after a failure tries again, ever more slowly."""

    def __init__(
        self, store: RegistryStore, lineage: Lineage, *, first_delay_s: float = 0.2, longest_delay_s: float = 60.0
    ) -> None:
        self._store = store
        self._lineage = lineage
        self._first_delay_s = first_delay_s
        self._longest_delay_s = longest_delay_s
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

    async def record_all(self) -> None:
        """Records every version that is not recorded yet; YardError where one cannot be."""
        while versions := await asyncio.to_thread(self._store.list_unrecorded_versions, _BATCH):
            for version in versions:
                # Its thread must be out of the stores before they are closed.
                await run_to_end(asyncio.to_thread(self._record, version))

    def _record(self, version: Version) -> None:
        self._lineage.record(version)
        self._store.mark_recorded(version.model, version.number)

    async def _run(self) -> None:
        delay_s = self._first_delay_s
        while True:
            self._wake.clear()
            try:
                await self.record_all()
            except Exception as error:  # whatever it was, versions must not go unrecorded until the next start
                defect = not isinstance(error, YardError)
                log.warning("lineage is behind: %s", error, extra={"next_try_s": delay_s}, exc_info=defect)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, self._longest_delay_s)
            else:
                delay_s = self._first_delay_s
                await self._wake.wait()
