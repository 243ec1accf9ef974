"""A version is asked with the sample that the yard keeps of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.harness.models import write_scale_model
from tests.harness.yard import Yard


def modelyard(yard: Yard, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "modelyard.cli", *map(str, arguments)]
    return subprocess.run(
        [*command, "--controller", yard.controller.facts["address"]],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_the_sample_that_was_given_is_what_the_model_is_asked_with(yard: Yard, tmp_path: Path) -> None:
    np.savez(tmp_path / "sample.npz", x=np.asarray([[1, 2, 3, 4]], np.float32))
    model = write_scale_model(tmp_path / "scale.onnx", 3.0)
    told = modelyard(yard, "register", "tried", model, "--sample", tmp_path / "sample.npz")
    assert told.stdout == "tried@1\n", told.stderr
    early = modelyard(yard, "infer", "tried", "--sample", "--router", yard.address)
    assert early.returncode == 1 and "no alias 'production'" in early.stderr
    yard.set_alias("tried", "production", 1)
    yard.deploy("tried")
    yard.wait_serving("tried", version=1, replicas=1)
    for name in ("tried", "tried@production", "tried@1"):
        folder = tmp_path / name
        answered = modelyard(yard, "infer", name, "--sample", "--router", yard.address, "--output-dir", folder)
        assert answered.returncode == 0, answered.stderr
        (answer,) = (np.load(path) for path in folder.iterdir())
        np.testing.assert_allclose(answer, [[3, 6, 9, 12]])
