"""What a server does with its model before it is ready: a first inference, and finding out what merging brings."""

import logging
import time
from typing import Any

from modelyard.errors import InvalidArgumentError, YardError
from modelyard.tensors import Array
from nodeagent.modelserver import batch_benefit
from nodeagent.modelserver.batch import NEVER_MERGED, BatchLimits, Feeds, size_bytes
from nodeagent.modelserver.independence import why_dependent
from nodeagent.modelserver.sample import count_rows, enlarge, first_row, load_sample, other_rows, zeros
from nodeagent.modelserver.session import Session
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.modelserver.signature import Signature

log = logging.getLogger(__name__)

_QUICK_S = 100e-6
# No other work makes an inference that is short enough look as long as this.
_HOPELESS_S = 10 * batch_benefit.LONGEST_RUN_S


class WarmUp:
    """Of one model. Blocking. Whatever goes wrong here is told in the log, and the model is served all the same."""

    def __init__(self, settings: ServerSettings, session: Session[Any]) -> None:
        self._settings = settings
        self._session = session
        self._names = [spec.name for spec in session.signature.outputs]
        self._feeds = zeros(session.signature)
        self._row_s = float("inf")  # for a row, once an inference has succeeded

    def run(self) -> BatchLimits:
        """The first inference, so that no request pays for memory and kernels; returns how requests are merged."""
        self._infer_first()
        if self._settings.max_batch_rows == 1:
            return NEVER_MERGED
        try:
            limits, reason = self._choose_limits()
        except (YardError, ValueError) as error:
            limits, reason = NEVER_MERGED, str(error)
        if limits.max_rows == 1:
            log.info("requests are not merged: %s", reason)
            return NEVER_MERGED
        log.info("up to %d rows are merged into one inference: %s", limits.max_rows, reason)
        return limits

    def find_inline_bytes(self) -> int:
        """The most bytes of a request that is computed on the event loop itself; 0: none is. To be called after `run`.

        Handing an inference to a thread and back takes longer than such a model. It must be certain that it holds up
        the loop no longer than was measured: its work must not depend on values, nor its inputs be larger than the row
        that was tried. Where requests are to be merged they must wait for each other somewhere.
        """
        signature = self._session.signature
        if self._settings.max_batch_rows > 1 or not _are_sizes_fixed(signature) or not self._session.has_steady_work:
            return 0
        try:
            quickest = min(self._time(self._feeds) for _ in range(5))
        except YardError:
            return 0
        return sum(array.nbytes for array in self._feeds.values()) if quickest < _QUICK_S else 0

    def _time(self, feeds: Feeds) -> float:
        start = time.perf_counter()
        self._compute(feeds)
        return time.perf_counter() - start

    def _time_fairly(self, feeds: Feeds) -> float:
        """What looks too long to try several is looked at again: it may have been other work of the host."""
        seconds = self._time(feeds)
        if batch_benefit.LONGEST_RUN_S < seconds < _HOPELESS_S:
            return min(seconds, self._time(feeds), self._time(feeds))
        return seconds

    def _infer_first(self) -> None:
        if self._settings.sample:
            try:
                self._feeds = load_sample(self._settings.sample, self._session.signature)
            except InvalidArgumentError as error:
                log.warning("warming up with zeros: %s", error.message)
        try:
            self._compute(self._feeds)
            self._row_s = self._time_fairly(self._feeds) / max(1, count_rows(self._feeds))
        except YardError as error:
            # Some models refuse zeros, and serve what is real all the same.
            what = "of the sample" if self._settings.sample else "of zeros"
            log.warning("the first inference, %s, failed: %s", what, error.message)

    def _choose_limits(self) -> tuple[BatchLimits, str]:
        """And why. Raises YardError and ValueError, which say why nothing is merged."""
        feeds = self._find_trial()
        row = first_row(feeds)
        rows, most_bytes = min(self._settings.max_batch_rows, self._settings.max_batch_size), 0
        reason = "as it was set"
        if not rows:
            rows, reason = self._measure(row)
            most_bytes = rows * size_bytes(row)
        if rows > 1:
            others = other_rows(self._session.signature, feeds)
            if dependent := why_dependent(self._compute, self._session.signature, row, others):
                raise ValueError(dependent)
        return BatchLimits(rows, self._settings.max_batch_wait_us * 1000, most_bytes), reason

    def _find_trial(self) -> Feeds:
        """Inputs to try with, of one row or more. Raises ValueError where there are none, or nothing can be merged."""
        if not self._session.signature.has_batch_dimension:
            raise ValueError("the model has no batch dimension")
        if self._row_s == float("inf"):
            raise ValueError("there are no inputs to try it with")
        if not count_rows(self._feeds):
            raise ValueError("the sample's inputs have not all the same number of rows")
        larger = enlarge(self._session.signature, first_row(self._feeds))
        if size_bytes(larger) <= size_bytes(first_row(self._feeds)):
            return self._feeds
        try:
            self._compute(larger)
            self._row_s = self._time_fairly(larger)
        except YardError as error:
            if self._settings.max_batch_rows:
                return self._feeds
            raise ValueError(
                f"what varies is 1 in the sample, and larger the model does not take it ({error})"
            ) from error
        return larger

    def _measure(self, row: Feeds) -> tuple[int, str]:
        if self._row_s > batch_benefit.LONGEST_RUN_S:
            return 1, f"one inference takes {self._row_s * 1e3:.0f} ms, too long to try several"
        # Of one thread the CPU time is the time that it takes, and does not grow with what else runs on its core.
        timer = time.process_time if self._settings.threads == 1 and self._settings.device == "cpu" else None
        seconds = batch_benefit.measure(self._compute, row, self._settings.max_batch_size, time.perf_counter, timer)
        rows = batch_benefit.choose_rows(seconds)
        rates = ", ".join(f"{count / taken:.0f}/s at {count}" for count, taken in seconds.items())
        shapes = ", ".join(f"{name!r} {list(array.shape)}" for name, array in row.items())
        return rows, f"measured rows of {shapes} by rows at once: {rates}"

    def _compute(self, feeds: Feeds) -> list[Array]:
        return self._session.run(self._names, feeds)


def _are_sizes_fixed(signature: Signature) -> bool:
    """Of a row; an empty shape is one that the model does not declare."""
    return all(
        spec.datatype.name != "BYTES" and spec.shape and -1 not in spec.shape[signature.has_batch_dimension :]
        for spec in signature.inputs
    )
