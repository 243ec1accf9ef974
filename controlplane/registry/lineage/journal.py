"""The lineage store as the rest of the controller sees it."""

import logging
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from controlplane.domain import Fact, Version
from controlplane.registry.lineage.config import LineageConfig
from controlplane.registry.lineage.worker_process import WorkerProcess
from controlplane.registry.lineage_graph import Graph
from modelyard.errors import InternalError

log = logging.getLogger(__name__)

# Of one request: a batch of facts, or the graph around a version with a long history, on a server that is far away.
DEADLINE_S = 60.0
_CLOSE_GRACE_S = 2.0


class MlMetadataLineage:
    """Blocking, from any thread. Reading never waits for recording: each has a process of its own. `close` it.

    Raises UnavailableError where the store cannot be used now, or gives no answer in `deadline_s` seconds; any other
    error comes from what it was asked.
    """

    def __init__(self, config: LineageConfig, *, deadline_s: float = DEADLINE_S) -> None:
        self._recording = WorkerProcess(config, deadline_s)
        self._reading = WorkerProcess(config, deadline_s)
        # Of its own: calls that wait for a store that does not answer must not take all threads that others share.
        self._readers = ThreadPoolExecutor(1, "lineage reader")

    @property
    def recording_pid(self) -> int | None:
        """Of the process that records; None while it does not run."""
        return self._recording.pid

    @property
    def reading_pid(self) -> int | None:
        return self._reading.pid

    def has(self, facts: Sequence[Fact]) -> Collection[int]:
        """The numbers of those facts that are recorded, with all that belongs to them."""
        found: Collection[int] = self._recording.ask("has", facts)
        return found

    def record(self, entries: Sequence[tuple[Fact, Version]]) -> None:
        """Each fact with its version as it is now. What is recorded already stays as it is.

        Where one of them cannot be recorded this raises, and it and others may be unrecorded.
        """
        self._recording.ask("record", entries)

    def read(self, model: str, number: int) -> Graph:
        """Empty where the version is not recorded yet."""
        try:
            graph: Graph = self._reading.ask("read", model, number)
        except InternalError:
            log.exception("the lineage of %s@%d cannot be read", model, number)
            raise
        return graph

    def submit_read(self, model: str, number: int) -> Future[Graph]:
        """As `read`, after those that were submitted before; does not block. One that is cancelled is left out."""
        return self._readers.submit(self.read, model, number)

    def close(self) -> None:
        """Ends both processes. What is under way in them has two seconds, and raises UnavailableError then."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._reading.close(0)  # it has nothing to lose
        self._readers.shutdown()
        self._recording.close(_CLOSE_GRACE_S)
