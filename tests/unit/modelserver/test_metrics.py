"""What Prometheus reads: Triton's names, counts that agree with the statistics, and what is told of any process."""

import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from nodeagent.modelserver.metrics import Snapshot, render
from nodeagent.modelserver.statistics import ExecutionRecord, RequestRecord, Statistics

LABELS = {"model": 'a "b"\\c', "version": "3"}


def statistics() -> Statistics:
    told = Statistics()
    for duration_ns in (400_000, 3_000_000, 60_000_000_000):
        record = RequestRecord(2, queue_ns=1000, input_ns=2000, infer_ns=3000, output_ns=4000)
        told.record_success(record, duration_ns=duration_ns, wall_ms=1)
    told.record_execution(ExecutionRecord(6, 2000, 3000, 4000))
    told.record_failure(duration_ns=5)
    return told


def scrape() -> dict[str, float]:
    """Values by the name of the sample and, for buckets, their bound."""
    text = render(Snapshot(LABELS["model"], LABELS["version"], statistics(), in_flight=4, waiting=3)).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            bound = labels.pop("le", "")
            assert labels == (LABELS if not sample.name.startswith("process_") else {})
            # This parser appends "_total" to the names of counters that have it not; the text is looked at below.
            name = sample.name.removesuffix("_total") if sample.name.startswith("nv_") else sample.name
            found[name + bound] = sample.value
    return found


def test_names_and_figures_are_those_that_triton_tells() -> None:
    found = scrape()
    assert {name: value for name, value in found.items() if name.startswith("nv_")} == {
        "nv_inference_request_success": 3,
        "nv_inference_request_failure": 1,
        "nv_inference_count": 6,
        "nv_inference_exec_count": 1,
        "nv_inference_request_duration_us": 60_003_400,
        "nv_inference_queue_duration_us": 3,
        "nv_inference_compute_input_duration_us": 6,
        "nv_inference_compute_infer_duration_us": 9,
        "nv_inference_compute_output_duration_us": 12,
        "nv_inference_pending_request_count": 3,
    }
    assert found["modelyard_requests_in_flight"] == 4


def test_what_is_copied_for_a_scrape_is_small_and_nobody_elses() -> None:
    counted = statistics()
    copied = counted.copy_totals()
    counted.record_failure(duration_ns=1)
    counted.latency_buckets[0] += 1
    assert copied.fail.count == 1 and copied.latency_buckets == statistics().latency_buckets
    assert copied.batches == {} and list(counted.batches) == [6]


def test_a_histogram_tells_how_long_requests_took() -> None:
    found, name = scrape(), "modelyard_inference_latency_seconds"
    assert [found[f"{name}_bucket{bound}"] for bound in ("0.0005", "0.0025", "0.005", "10.0", "+Inf")] == [
        1,
        1,
        2,
        2,
        3,
    ]
    assert found[f"{name}_count"] == 3 and found[f"{name}_sum"] == 60.0034


def test_the_process_is_told_of_as_usual() -> None:
    found = scrape()
    assert found["process_resident_memory_bytes"] > 0 and found["process_open_fds"] > 0
    assert found["process_cpu_seconds_total"] > 0


def test_counters_are_declared_as_counters() -> None:
    text = render(Snapshot("m", "3", statistics(), 0, 0)).decode()
    assert "# TYPE nv_inference_request_success counter\nnv_inference_request_success{" in text
    assert "untyped" not in text


def test_a_server_starts_without_importing_what_only_a_scrape_needs() -> None:
    imports = "import sys, nodeagent.modelserver.main, nodeagent.modelserver.onnx_session"
    code = f"{imports}; print('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
