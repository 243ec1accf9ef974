"""The table of operators against the onnxruntime that is installed, over all of ONNX's own test models."""

from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, NotImplemented, RuntimeException

from controlplane.registry.formats.onnx_operators import refuse_missing_operators
from modelyard.errors import InvalidArgumentError

MODELS = Path(onnx.__file__).parent / "backend/test/data"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    onnxruntime.set_default_logger_severity(4)


def refuses(path: Path) -> bool:
    try:
        refuse_missing_operators(onnx.load(path, load_external_data=False))
    except InvalidArgumentError:
        return True
    return False


def lacks(path: Path) -> bool:
    """Whether onnxruntime itself does not load it."""
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, NotImplemented, RuntimeException):
        return True
    return False


def test_no_model_is_refused_that_onnxruntime_loads() -> None:
    refused = [path for path in sorted(MODELS.rglob("*.onnx")) if refuses(path)]
    assert [str(path.relative_to(MODELS)) for path in refused if not lacks(path)] == []
    # Some of ONNX's newest operators, and its training ones: else nothing was tried here.
    assert len(refused) > 20
