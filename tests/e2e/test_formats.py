"""Each format from its file to a record by the command line; ONNX and SavedModel to an answer, a plan to a sentence."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx.reference import ReferenceEvaluator
from tritonclient.utils import np_to_triton_dtype

from modelyard.tensors import Array
from tests.harness.onnx_models import write_model_with_external_data, write_sum_model
from tests.harness.savedmodels import load_reference, savedmodel
from tests.harness.yard import Yard

# The header of a plan of TensorRT 8.6.1, and as much after it as makes it one.
PLAN = b"ftrt" + bytes(20) + bytes([8, 6, 1, 6]) + bytes(1000)


def modelyard(yard: Yard, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelyard.cli", *arguments, "--controller", yard.controller.facts["address"]]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def done(yard: Yard, *arguments: str) -> str:
    """What it printed. Asserts that it did what it was asked to."""
    result = modelyard(yard, *arguments)
    assert result.returncode == 0, f"{arguments}: {result.stderr}\n{yard.logs()}"
    return result.stdout.strip()


def serve(yard: Yard, name: str, path: Path) -> dict[str, Any]:
    """The record of the version that it became."""
    assert done(yard, "register", name, str(path)) == f"{name}@1"
    done(yard, "alias", "set", name, "production", "1")
    assert "version 1 is served by 1 replica" in done(yard, "deploy", name)
    [version] = json.loads(done(yard, "versions", name, "--json"))
    return dict(version)


def infer(yard: Yard, model: str, inputs: Mapping[str, Array]) -> triton.InferResult:
    tensors = []
    for name, array in inputs.items():
        tensors.append(triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
        tensors[-1].set_data_from_numpy(array)
    with triton.InferenceServerClient(yard.address) as client:
        return client.infer(model, tensors, client_timeout=30)


@pytest.mark.parametrize("name", ["cnn", "lstm", "two_in_two_out", "multi_signature"])
def test_a_savedmodel_answers_as_tensorflow_does(yard: Yard, name: str) -> None:
    model, reference = name.replace("_", "-"), load_reference(name)
    version = serve(yard, model, savedmodel(name))
    assert "SAVEDMODEL" in json.dumps(version).upper()
    result = infer(yard, model, reference.inputs)
    for key, wanted in reference.outputs.items():
        np.testing.assert_allclose(result.as_numpy(key), wanted, rtol=1e-5, atol=1e-5)


def test_an_onnx_file_answers_as_the_reference_does(yard: Yard, tmp_path: Path) -> None:
    path = write_sum_model(tmp_path / "sum.onnx")
    serve(yard, "sum", path)
    random = np.random.default_rng(7)
    inputs = {name: random.standard_normal(5, np.float32) for name in ("a", "b")}
    result = infer(yard, "sum", inputs)
    for key, wanted in zip(("sum", "difference"), ReferenceEvaluator(onnx.load(path)).run(None, inputs), strict=True):
        np.testing.assert_allclose(result.as_numpy(key), wanted, rtol=1e-5, atol=1e-5)


def test_an_onnx_model_with_its_weights_beside_it_answers_as_the_reference_does(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    path = write_model_with_external_data(tmp_path / "net" / "net.onnx", np.array([2, 3, 4, 5], np.float32))
    serve(yard, "beside", path.parent)
    inputs = {"x": np.random.default_rng(7).standard_normal((3, 4), np.float32)}
    [wanted] = ReferenceEvaluator(onnx.load(path)).run(None, inputs)
    np.testing.assert_allclose(infer(yard, "beside", inputs).as_numpy("y"), wanted, rtol=1e-5, atol=1e-5)


def test_a_plan_becomes_a_record_and_is_told_what_it_lacks(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "resnet.plan").write_bytes(PLAN)
    assert done(yard, "register", "plan", str(tmp_path / "resnet.plan"), "--gpu", "NVIDIA L4") == "plan@1"
    done(yard, "alias", "set", "plan", "production", "1")
    result = modelyard(yard, "deploy", "plan")
    assert result.returncode == 1
    assert "no node here can serve it: it needs a GPU with Triton" in result.stderr
    assert result.stderr.count("Triton") == 1
    status = yard.status("plan")
    assert status.state == status.DEGRADED


def test_strings_are_refused_at_the_door_with_the_way_out(yard: Yard) -> None:
    result = modelyard(yard, "register", "strings", str(savedmodel("string_input")))
    assert result.returncode == 1
    assert "is a string" in result.stderr and "export it" in result.stderr
