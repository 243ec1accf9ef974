"""Ten thousand damaged files of each kind: never a hang, a crash, an error that is no refusal, or too much memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import SEEDS

MOST_MEMORY_BYTES = 192 << 20  # beyond what reading the good files takes
FEW, MANY = 400, 10_000
ROOT = Path(__file__).parents[2]


def fuzz(kind: str, count: int, folder: Path, seed: int = 1) -> dict[str, int]:
    worker = [sys.executable, "-m", "tests.fuzz.worker", kind, str(seed), str(count), str(folder)]
    done = subprocess.run(worker, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    outcomes: dict[str, int] = json.loads(done.stdout)
    return outcomes


def check(kind: str, count: int, folder: Path) -> None:
    outcomes = fuzz(kind, count, folder)
    assert outcomes.get("taken", 0) + outcomes["refused"] == count
    # Else the mutations would be of files that are refused at once.
    assert outcomes["good"] > 0
    assert outcomes["after_bytes"] - outcomes["before_bytes"] < MOST_MEMORY_BYTES


@pytest.mark.parametrize("kind", SEEDS)
def test_some_hundred_damaged_files(kind: str, tmp_path: Path) -> None:
    check(kind, FEW, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", SEEDS)
def test_ten_thousand_damaged_files(kind: str, tmp_path: Path) -> None:
    check(kind, MANY, tmp_path)
