"""What Prometheus is told, under the names that Triton uses where it has them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from nodeagent.modelserver.statistics import LATENCY_BUCKETS_S, Statistics

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_LATENCY = "modelyard_inference_latency_seconds"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """`statistics` is nobody else's. `in_flight`: requests that run or wait; `waiting`: that wait."""

    model: str
    version: str
    statistics: Statistics
    in_flight: int
    waiting: int

    def collect(self) -> "Iterator[Metric]":
        """As prometheus_client wants it of a collector."""
        from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric

        labels = {"model": self.model, "version": self.version}
        for name, text, value in self._counters():
            # Its own kind of counter would have "_total" at the end of its name; see `render`.
            counter = Metric(name, text, "unknown")
            counter.add_sample(name, labels, value)
            yield counter
        for name, text, value in self._gauges():
            gauge = GaugeMetricFamily(name, text, labels=list(labels))
            gauge.add_metric(list(labels.values()), value)
            yield gauge
        bounds = [*map(str, LATENCY_BUCKETS_S), "+Inf"]
        buckets = list(zip(bounds, accumulate(self.statistics.latency_buckets), strict=True))
        histogram = HistogramMetricFamily(_LATENCY, "From arrival to answer, of answered requests", labels=list(labels))
        histogram.add_metric(list(labels.values()), buckets, self.statistics.success.ns / 1e9)
        yield histogram

    def _counters(self) -> Iterable[tuple[str, str, float]]:
        told = self.statistics
        yield "nv_inference_request_success", "Requests that were answered", told.success.count
        yield "nv_inference_request_failure", "Requests that failed or were given up", told.fail.count
        yield "nv_inference_count", "Inferences: each row of a batch is one", told.inferences
        yield "nv_inference_exec_count", "Runs of the model: merged requests share one", told.executions
        yield "nv_inference_request_duration_us", "From arrival to answer, of answered requests", told.success.ns / 1e3
        yield "nv_inference_queue_duration_us", "Waiting for their turn", told.queue.ns / 1e3
        yield "nv_inference_compute_input_duration_us", "Reading and merging inputs", told.compute_input.ns / 1e3
        yield "nv_inference_compute_infer_duration_us", "Running the model", told.compute_infer.ns / 1e3
        yield "nv_inference_compute_output_duration_us", "Splitting and writing outputs", told.compute_output.ns / 1e3

    def _gauges(self) -> Iterable[tuple[str, str, float]]:
        yield "nv_inference_pending_request_count", "Requests that wait for their turn", self.waiting
        yield "modelyard_requests_in_flight", "Requests that run or wait", self.in_flight


def render(snapshot: Snapshot) -> bytes:
    """In Prometheus's text format, with what it is usually told of a process. Blocking.

    prometheus_client is imported here, at the first scrape: it would take a good part of a replica's start.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    registry.register(snapshot)  # type: ignore[arg-type]
    ProcessCollector(registry=registry)
    return generate_latest(registry).replace(b" untyped\n", b" counter\n")
