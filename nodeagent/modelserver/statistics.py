"""Counts and times of requests, as Triton's ModelStatistics tells them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RequestRecord:
    """When one request went where, in nanoseconds of one monotonic clock; `inferences` is its batch size."""

    inferences: int
    accepted: int
    started: int  # left the queue
    decoded: int
    computed: int
    encoded: int


@dataclass
class Duration:
    """How often something was done, and for how many nanoseconds altogether."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns


@dataclass
class Statistics:
    """Totals since the process started. For use from one thread.

    Each request is an execution of its own (this server merges none), and an inference for each item of its batch.
    """

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    inferences: int = 0
    last_inference_ms: int = 0  # since the epoch

    def record_success(self, record: RequestRecord, *, finished: int, wall_ms: int) -> None:
        self.inferences += record.inferences
        self.success.add(finished - record.accepted)
        self.queue.add(record.started - record.accepted)
        self.compute_input.add(record.decoded - record.started)
        self.compute_infer.add(record.computed - record.decoded)
        self.compute_output.add(record.encoded - record.computed)
        self.last_inference_ms = wall_ms

    def record_failure(self, *, accepted: int, finished: int) -> None:
        self.fail.add(finished - accepted)

    def fill(self, message: Any) -> None:
        """Writes the totals into an `inference.ModelStatistics`."""
        message.last_inference = self.last_inference_ms
        message.inference_count = self.inferences
        message.execution_count = self.success.count
        for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
            duration: Duration = getattr(self, name)
            stored = getattr(message.inference_stats, name)
            stored.count, stored.ns = duration.count, duration.ns
