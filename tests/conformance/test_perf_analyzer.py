"""NVIDIA's perf_analyzer, unmodified, measures a model through the router."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.yard import Yard

FOLDER = Path(__file__).parents[2] / ".cache/perf_analyzer"


@pytest.mark.skipif(not (FOLDER / "perf_analyzer").exists(), reason="scripts/fetch_perf_analyzer could not fetch it")
def test_it_measures_a_served_model(yard: Yard, tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    finished = subprocess.run(
        [FOLDER / "perf_analyzer", "-m", "scale", "-u", yard.address, "-i", "grpc", "--concurrency-range", "2",
         "--measurement-mode", "count_windows", "--measurement-request-count", "200", "-f", str(report),
         "--stability-percentage", "900"],  # what the machine does meanwhile is not what this is about
        env={**os.environ, "LD_LIBRARY_PATH": str(FOLDER)}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    columns, row = (line.split(",") for line in report.read_text().splitlines()[:2])
    measured = dict(zip(columns, row, strict=True))
    assert measured["Concurrency"] == "2"
    assert float(measured["Inferences/Second"]) > 0
