"""Counts and times of requests, as Triton's ModelStatistics tells them."""

from bisect import bisect_left
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

# Of a request, in seconds; Prometheus wants the last to be without end.
LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BUCKETS_NS = tuple(int(bound * 1e9) for bound in LATENCY_BUCKETS_S)
_MOST_BATCH_SIZES = 256  # clients choose them: what is told of each one shall not grow without end


class RequestRecord(NamedTuple):
    """Where the time of one answered request went, in nanoseconds; `rows` is its batch size.

    Requests that were run together have each the whole time of the run.
    """

    rows: int
    queue_ns: int
    input_ns: int
    infer_ns: int
    output_ns: int


class ExecutionRecord(NamedTuple):
    """One run of the model, of all requests in it together; times in nanoseconds."""

    rows: int
    input_ns: int
    infer_ns: int
    output_ns: int


@dataclass
class Duration:
    """How often something was done, and for how many nanoseconds altogether."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns


@dataclass
class BatchTimes:
    """Of all runs with the same number of rows."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass
class Statistics:
    """Totals since the process started. For use from one thread.

    An execution is a run of the model, of one request or of several that were merged; each row is an inference.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, BatchTimes] = field(default_factory=dict)
    # Answered requests that took no longer than each bound; the last counts those beyond all of them.
    latency_buckets: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS_NS) + 1))
    inferences: int = 0
    executions: int = 0
    last_inference_ms: int = 0  # since the epoch

    def record_success(self, record: RequestRecord, *, duration_ns: int, wall_ms: int) -> None:
        self.inferences += record.rows
        self.success.add(duration_ns)
        self.latency_buckets[bisect_left(_BUCKETS_NS, duration_ns)] += 1
        self.queue.add(record.queue_ns)
        self.compute_input.add(record.input_ns)
        self.compute_infer.add(record.infer_ns)
        self.compute_output.add(record.output_ns)
        self.last_inference_ms = wall_ms

    def record_failure(self, *, duration_ns: int) -> None:
        self.fail.add(duration_ns)

    def record_execution(self, record: ExecutionRecord) -> None:
        self.executions += 1
        batch = self.batches.get(record.rows)
        if batch is None:
            if len(self.batches) == _MOST_BATCH_SIZES:
                return
            batch = self.batches[record.rows] = BatchTimes()
        batch.compute_input.add(record.input_ns)
        batch.compute_infer.add(record.infer_ns)
        batch.compute_output.add(record.output_ns)

    def copy_totals(self) -> "Statistics":
        """Without `batches`, of which there may be many: they would hold up the event loop."""
        return deepcopy(replace(self, batches={}))

    def fill(self, message: Any) -> None:
        """Writes the totals into an `inference.ModelStatistics`. No answers are cached here: hits and misses are 0."""
        message.last_inference = self.last_inference_ms
        message.inference_count = self.inferences
        message.execution_count = self.executions
        for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
            _store(getattr(self, name), getattr(message.inference_stats, name))
        message.inference_stats.cache_hit.SetInParent()
        message.inference_stats.cache_miss.SetInParent()
        for rows, batch in sorted(self.batches.items()):
            told = message.batch_stats.add(batch_size=rows)
            for name in ("compute_input", "compute_infer", "compute_output"):
                _store(getattr(batch, name), getattr(told, name))


def _store(duration: Duration, message: Any) -> None:
    message.count, message.ns = duration.count, duration.ns
