"""What differs between two versions."""

from typing import Any

from modelyard.cli.comparison import compute_differences
from modelyard.v1 import resources_pb2


def _version(number: int, **facts: Any) -> Any:
    version = resources_pb2.Version(
        number=number, format=resources_pb2.MODEL_FORMAT_ONNX, size_bytes=1000, user="ann", **facts
    )
    version.signature.inputs.add(name="x", datatype="FP32", shape=[-1, 3])
    return version


def test_numbers_are_compared_as_numbers_and_what_is_alike_is_left_out() -> None:
    first = _version(1, metrics={"top1": 0.75, "loss": 1.0}, parameters={"lr": "0.1", "epochs": "90"})
    second = _version(2, metrics={"top1": 0.78125, "auc": 0.9}, parameters={"lr": "0.2", "epochs": "90"})
    second.size_bytes = 3048
    found = [tuple(difference) for difference in compute_differences(first, second)]
    assert sorted(found[:3]) == [
        ("metrics.auc", None, 0.9, None),
        ("metrics.loss", 1.0, None, None),
        ("metrics.top1", 0.75, 0.78125, 0.03125),
    ]
    assert found[3:] == [("parameters.lr", "0.1", "0.2", None), ("size_bytes", 1000, 3048, 2048)]


def test_signature_source_and_format_details_are_compared() -> None:
    first, second = _version(1), _version(2)
    second.signature.inputs[0].datatype = "FP16"
    second.signature.outputs.add(name="y", datatype="FP32", shape=[1])
    first.source.git_commit = "abc"
    first.details.onnx.opsets[""] = 17
    second.details.onnx.opsets[""] = 18
    found = {difference.field: difference[1:3] for difference in compute_differences(first, second)}
    assert found == {
        "opsets": ("ai.onnx 17", "ai.onnx 18"),
        "inputs.x": ("FP32[-1, 3]", "FP16[-1, 3]"),
        "outputs.y": (None, "FP32[1]"),
        "source.git_commit": ("abc", None),
    }


def test_a_version_does_not_differ_from_itself() -> None:
    assert not list(compute_differences(_version(1, metrics={"a": 1.0}), _version(1, metrics={"a": 1.0})))
