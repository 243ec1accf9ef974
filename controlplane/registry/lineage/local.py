"""The lineage store, opened in this process: the worker's, which alone may wait for ML Metadata."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from controlplane.domain import Fact, Version
from controlplane.registry.lineage.config import LineageConfig
from controlplane.registry.lineage.kinds import MODEL
from controlplane.registry.lineage.mlmd import MlmdStore, StoreError
from controlplane.registry.lineage.reading import read_graph
from controlplane.registry.lineage.records import compute_record, execution_key
from controlplane.registry.lineage.writing import write
from controlplane.registry.lineage_graph import Graph
from modelyard.errors import UnavailableError

T = TypeVar("T")


class LocalLineage:
    """Blocking, with the interpreter's lock held, and from one thread at a time. Opened with the first question.

    Raises UnavailableError where the store cannot be used now; any other error comes from what it was asked.
    """

    def __init__(self, config: LineageConfig) -> None:
        self._config = config
        self._store: MlmdStore | None = None

    def has(self, facts: Sequence[Fact]) -> Collection[int]:
        """The numbers of those facts that are recorded, with all that belongs to them."""
        keys = {fact.number: execution_key(fact) for fact in facts}
        # A record's last step is that it belongs to its model (writing.py).
        found = self._ask(lambda store: store.find_in_context(keys.values(), MODEL))
        return {number for number, key in keys.items() if key in found}

    def record(self, entries: Sequence[tuple[Fact, Version]]) -> None:
        """Each fact with its version as it is now. What is recorded already stays as it is.

        Where one of them cannot be recorded this raises, and it and others may be unrecorded.
        """
        records = [compute_record(fact, version) for fact, version in entries]
        try:
            self._use(lambda store: write(store, records))
        except StoreError as error:
            if not error.is_busy:
                self._ask(lambda store: store.touch(datetime.now(UTC)))
                raise  # the store takes other things, so it is these
            raise _unavailable(error) from error

    def read(self, model: str, number: int) -> Graph:
        """Empty where the version is not recorded yet."""
        return self._ask(lambda store: read_graph(store, model, number))

    def _ask(self, act: Callable[[MlmdStore], T]) -> T:
        try:
            return self._use(act)
        except StoreError as error:
            raise _unavailable(error) from error

    def _use(self, act: Callable[[MlmdStore], T]) -> T:
        """Twice, where it fails at first: a store object whose database connection broke never works again."""
        try:
            return act(self._open())
        except StoreError:
            self._store = None
        try:
            return act(self._open())
        except StoreError:
            self._store = None
            raise

    def _open(self) -> MlmdStore:
        try:
            self._store = self._store or MlmdStore(self._config)
        except StoreError as error:
            raise _unavailable(error) from error
        return self._store


def _unavailable(error: StoreError) -> UnavailableError:
    return UnavailableError(f"the lineage store cannot be used: {error}")
