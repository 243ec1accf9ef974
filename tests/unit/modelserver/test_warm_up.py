"""Before a server is ready: the first inference, and whether and how requests are merged, on real models."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from modelyard.datatypes import BY_NAME
from modelyard.tensors import Array
from nodeagent.modelserver import batch_benefit
from nodeagent.modelserver.batch import NEVER_MERGED, BatchLimits, Feeds
from nodeagent.modelserver.independence import why_dependent
from nodeagent.modelserver.onnx_session import OnnxSession
from nodeagent.modelserver.sample import other_rows
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.modelserver.signature import Signature, TensorSpec
from nodeagent.modelserver.warm_up import WarmUp
from tests.harness.models import write_scale_model
from tests.harness.onnx_models import tensor, write_identity_model, write_model


def warm_up(file: Path, *flags: str) -> BatchLimits:
    settings = ServerSettings.load(["--model", "m", "--version", "1", "--file", str(file), *flags])
    return WarmUp(settings, OnnxSession(file, threads=1, max_string_elements=100)).run()


def write(path: Path, nodes: Sequence[NodeProto], initializers: Sequence[TensorProto] = ()) -> Path:
    """A model of x to y, FP32 [b, 4]."""
    file = path / "m.onnx"
    return write_model(file, nodes, [tensor("x", "FP32", ["b", 4])], [tensor("y", "FP32", ["b", 4])], initializers)


def number(name: str, value: float) -> TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [1], [value])


def axes(*values: int) -> TensorProto:
    return helper.make_tensor("axes", TensorProto.INT64, [len(values)], values)


def test_as_many_rows_are_merged_as_are_measured_to_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_benefit, "measure", lambda *_: {1: 1.0, 2: 1.0, 4: 1.0, 8: 3.0})
    limits = warm_up(write_scale_model(tmp_path / "m.onnx", 2.0), "--max-batch-wait-us", "300")
    assert limits == BatchLimits(4, 300_000, max_bytes=64)


def test_where_nothing_is_gained_nothing_is_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(batch_benefit, "measure", lambda *_: {1: 1.0, 2: 2.0})
    assert warm_up(write_scale_model(tmp_path / "m.onnx", 2.0)) == NEVER_MERGED
    assert "requests are not merged: measured rows of 'x' [1, 4] by rows at once: 1/s at 1, 1/s at 2" in caplog.text


def test_a_real_tiny_model_gains_from_batches(tmp_path: Path) -> None:
    assert warm_up(write_scale_model(tmp_path / "m.onnx", 2.0)).max_rows >= 8


def test_the_rows_that_were_set_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(batch_benefit, "measure")
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    assert warm_up(file, "--max-batch-rows", "7").max_rows == 7
    assert warm_up(file, "--max-batch-rows", "7", "--max-batch-size", "5").max_rows == 5
    assert warm_up(file, "--max-batch-rows", "1") == NEVER_MERGED


def combined(how: str, over_batch: str) -> list[NodeProto]:
    """Each row with what comes of all of them."""
    return [helper.make_node(over_batch, ["x", "axes"], ["all"]), helper.make_node(how, ["x", "all"], ["y"])]


def scores_beside_coordinates() -> list[NodeProto]:
    """Numbers of some hundred, and in the last column one of a few tenths that depends on the mean of the batch."""
    return [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"]),
        helper.make_node("Sigmoid", ["mean"], ["score"]),
        helper.make_node("Add", ["x", "score"], ["scored"]),
        helper.make_node("Add", ["x", "hundreds"], ["coordinates"]),
        helper.make_node("Where", ["last", "scored", "coordinates"], ["y"]),
    ]


PEAK = [
    helper.make_node("Abs", ["x"], ["size"]),
    helper.make_node("ReduceMax", ["size"], ["peak"], keepdims=0),
    helper.make_node("Add", ["peak", "tiny"], ["scale"]),
]
MIXING = {
    "softmax over the batch": [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
    "mean of the batch": combined("Sub", "ReduceMean"),
    "running sum": [helper.make_node("CumSum", ["x", "axis"], ["y"])],
    "running sum from the end": [helper.make_node("CumSum", ["x", "axis"], ["y"], reverse=1)],
    "largest of the batch": combined("Add", "ReduceMax"),
    "scaled by the peak of the batch": [*PEAK, helper.make_node("Div", ["x", "scale"], ["y"])],
    "silent unless one of the batch is loud": [
        *PEAK,
        helper.make_node("Greater", ["peak", "half"], ["loud"]),
        helper.make_node("Where", ["loud", "x", "zero"], ["y"]),
    ],
    "quantised by the range of the batch": [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "step", "offset"]),
        helper.make_node("DequantizeLinear", ["q", "step", "offset"], ["y"]),
    ],
    "a little, beside large numbers": scores_beside_coordinates(),
}


@pytest.mark.parametrize("kind", MIXING)
@pytest.mark.parametrize("flags", [(), ("--max-batch-rows", "8")], ids=["measured", "set"])
def test_a_model_whose_rows_influence_each_other_is_never_merged(
    kind: str, flags: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    axis = helper.make_tensor("axis", TensorProto.INT64, [], [0])
    last = helper.make_tensor("last", TensorProto.BOOL, [1, 4], [False, False, False, True])
    numbers = [number("tiny", 1e-6), number("half", 0.5), number("zero", 0), number("hundreds", 640)]
    assert warm_up(write(tmp_path, MIXING[kind], [axes(0), axis, last, *numbers]), *flags) == NEVER_MERGED
    assert "a row gets another answer when others are computed with it" in caplog.text


@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_a_model_that_rolls_dice_is_not_merged(scale: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    dice = helper.make_node("RandomNormalLike", ["x"], ["dice"], scale=scale)
    file = write(tmp_path, [dice, helper.make_node("Add", ["x", "dice"], ["y"])])
    assert warm_up(file, "--max-batch-rows", "8") == NEVER_MERGED
    assert "it does not answer the same input alike each time" in caplog.text


def test_as_many_rows_as_went_in_may_be_chance(tmp_path: Path) -> None:
    """The numbers above a half: one of each row of this sample, and any number of other rows."""
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["all"]),
        helper.make_node("Greater", ["all", "half"], ["found"]),
        helper.make_node("Compress", ["all", "found"], ["y"]),
    ]
    constants = [helper.make_tensor("flat", TensorProto.INT64, [1], [-1]), number("half", 0.5)]
    file = tmp_path / "m.onnx"
    write_model(file, nodes, [tensor("x", "FP32", ["b", 4])], [tensor("y", "FP32", ["found"])], constants)
    np.savez(tmp_path / "s.npz", x=np.array([[1, 0, 0, 0], [0, 2, 0, 0]], np.float32))
    assert warm_up(file, "--sample", str(tmp_path / "s.npz"), "--max-batch-rows", "8") == NEVER_MERGED


def test_rounding_that_depends_on_the_number_of_rows_is_no_influence() -> None:
    """Other kernels; what they round otherwise, a model may enlarge a thousandfold."""
    signature = Signature((TensorSpec("x", BY_NAME["FP32"], (-1, 4)),), (TensorSpec("y", BY_NAME["FP32"], (-1, 4)),))
    row = {"x": np.zeros((1, 4), np.float32)}

    def compute(feeds: Feeds) -> list[Array]:
        return [feeds["x"] * np.float32(1 if len(feeds["x"]) == 1 else 1.01)]

    assert why_dependent(compute, signature, row, other_rows(signature, row)) == ""


def test_a_model_that_says_the_same_to_everybody_is_not_merged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    file = write(tmp_path, [helper.make_node("Mul", ["x", "zero"], ["y"])], [zero])
    assert warm_up(file, "--max-batch-rows", "8") == NEVER_MERGED
    assert "nothing shows that its rows are independent" in caplog.text


def test_a_model_without_a_batch_dimension_is_not_merged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = write_identity_model(tmp_path / "m.onnx", "FP32", [1, 4])
    assert warm_up(file, "--max-batch-rows", "8") == NEVER_MERGED
    assert "the model has no batch dimension" in caplog.text


def test_a_first_dimension_that_is_no_batch_is_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The places of what is not zero: as many as there are, whatever the rows."""
    caplog.set_level(logging.INFO)
    nodes = [helper.make_node("NonZero", ["x"], ["t"]), helper.make_node("Transpose", ["t"], ["y"])]
    file = write_model(
        tmp_path / "m.onnx", nodes, [tensor("x", "FP32", ["b", 4])], [tensor("y", "INT64", ["found", 2])]
    )
    assert warm_up(file) == warm_up(file, "--max-batch-rows", "8") == NEVER_MERGED
    assert "requests are not merged" in caplog.text


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP64", "INT8", "INT64", "UINT8", "BOOL", "BYTES"])
def test_models_of_all_kinds_of_types_are_merged(datatype: str, tmp_path: Path) -> None:
    file = write_identity_model(tmp_path / "m.onnx", datatype, ["b", 3])
    assert warm_up(file, "--max-batch-rows", "8").max_rows == 8


def test_indices_are_tried_within_what_the_model_knows(tmp_path: Path) -> None:
    """A table of two rows: only 0 and 1 lead anywhere."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0])
    file = write_model(
        tmp_path / "m.onnx",
        [helper.make_node("Gather", ["table", "i"], ["y"])],
        [tensor("i", "INT64", ["b"])],
        [tensor("y", "FP32", ["b", 2])],
        [table],
    )
    assert warm_up(file, "--max-batch-rows", "8").max_rows == 8


def measured_row(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Of the row that is measured, its shape; merging twice as many is found to be the best."""
    shapes: list[Any] = []

    def measure(_compute: Any, row: Feeds, *_arguments: Any) -> dict[int, float]:
        shapes.append(row["x"].shape)
        return {1: 1.0, 2: 1.0}

    monkeypatch.setattr(batch_benefit, "measure", measure)
    return shapes


def test_sizes_that_the_sample_leaves_open_are_tried_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = measured_row(monkeypatch)
    sequence = write_identity_model(tmp_path / "m.onnx", "FP32", ["b", "length", 3])
    assert warm_up(sequence) == BatchLimits(2, 0, max_bytes=2 * 64 * 3 * 4)
    assert warm_up(write_identity_model(tmp_path / "m.onnx", "FP32", ["b", "h", "w", "d"])).max_rows == 2
    np.savez(tmp_path / "s.npz", x=np.zeros((3, 6, 1), np.float32))
    assert warm_up(write_identity_model(tmp_path / "m.onnx", "FP32", ["b", "n", "k"]), "--sample", f"{tmp_path}/s.npz")
    assert shapes == [(1, 64, 3), (1, 64, 64, 64), (1, 6, 1)]


def test_requests_that_were_to_be_merged_by_a_set_number_may_be_of_any_size(tmp_path: Path) -> None:
    file = write_identity_model(tmp_path / "m.onnx", "FP32", ["b", "length"])
    assert warm_up(file, "--max-batch-rows", "3") == BatchLimits(3)


def test_a_model_that_takes_no_larger_sizes_is_not_merged_unless_a_number_is_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It declares any width, and adds rows of three."""
    caplog.set_level(logging.INFO)
    three = helper.make_tensor("three", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    file = tmp_path / "m.onnx"
    outputs = [tensor("y", "FP32", ["b", 3])]
    write_model(
        file, [helper.make_node("Add", ["x", "three"], ["y"])], [tensor("x", "FP32", ["b", "n"])], outputs, [three]
    )
    assert warm_up(file) == NEVER_MERGED
    assert "what varies is 1 in the sample, and larger the model does not take it (" in caplog.text
    assert warm_up(file, "--max-batch-rows", "3") == BatchLimits(3)


def test_a_slow_model_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shapes = measured_row(monkeypatch)
    monkeypatch.setattr(WarmUp, "_time", lambda *_: 0.05)
    assert warm_up(write_scale_model(tmp_path / "m.onnx", 2.0)) == NEVER_MERGED and not shapes
    assert "one inference takes 50 ms, too long to try several" in caplog.text


def test_a_model_that_other_work_held_up_once_is_no_slow_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = measured_row(monkeypatch)
    seconds = iter([0.05, 0.001, 0.04])
    monkeypatch.setattr(WarmUp, "_time", lambda *_: next(seconds))
    assert warm_up(write_scale_model(tmp_path / "m.onnx", 2.0)).max_rows == 2
    assert shapes == [(1, 4)]


def test_a_sample_of_many_rows_is_no_slow_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = measured_row(monkeypatch)
    monkeypatch.setattr(WarmUp, "_time", lambda _, feeds: 0.01 * len(feeds["x"]))
    np.savez(tmp_path / "s.npz", x=np.zeros((100, 4), np.float32))
    assert warm_up(write_scale_model(tmp_path / "m.onnx", 2.0), "--sample", f"{tmp_path}/s.npz").max_rows == 2
    assert shapes == [(1, 4)]


def computed(file: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the first inference was given."""
    seen: list[dict[str, Any]] = []
    run = OnnxSession.run

    def watch(self: OnnxSession, names: list[str], feeds: dict[str, Any]) -> Any:
        seen.append(feeds)
        return run(self, names, feeds)

    monkeypatch.setattr(OnnxSession, "run", watch)
    warm_up(file, "--sample", str(sample), "--max-batch-rows", "1")
    return seen[0]["x"].tolist()


@pytest.mark.parametrize(
    ("datatype", "array", "seen"),
    [
        ("FP32", np.array([[1, 2, 3]], np.float32), [[1, 2, 3]]),
        ("BYTES", np.array([["é", "", "b"]]), [["é", "", "b"]]),
        ("BYTES", np.array([["é".encode(), b"", b"b"]]), [["é", "", "b"]]),
        ("BF16", np.array([[0x3F80, 0, 1]], np.uint16), [[0x3F80, 0, 1]]),
        ("INT64", np.asfortranarray(np.array([[1, 2, 3], [4, 5, 6]])), [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_the_first_inference_is_of_the_sample(
    datatype: str, array: Any, seen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_identity_model(tmp_path / "m.onnx", datatype, ["b", 3])
    np.savez(tmp_path / "s.npz", x=array)
    assert computed(file, tmp_path / "s.npz", monkeypatch) == seen


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"x": np.zeros((1, 3))}, "the sample's 'x' is float64 [1, 3], which is no FP32 [-1, 4]"),
        ({"x": np.zeros((1, 3), np.float32)}, "the sample's 'x' is float32 [1, 3]"),
        ({"other": np.zeros((1, 4), np.float32)}, "the sample cannot be read: 'x is not a file in the archive'"),
        ({"x": np.array([[{}, 1, 2, 3]], object)}, "the sample cannot be read: Object arrays cannot be loaded"),
        (None, "the sample cannot be read"),
        (b"no archive", "the sample cannot be read"),
    ],
    ids=["type", "shape", "name", "objects", "missing", "garbage"],
)
def test_a_sample_that_does_not_fit_is_a_warning(
    content: Any, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file, sample = write_scale_model(tmp_path / "m.onnx", 2.0), tmp_path / "s.npz"
    if isinstance(content, dict):
        np.savez(sample, **content)
    elif content:
        sample.write_bytes(content)
    assert computed(file, sample, monkeypatch) == [[0, 0, 0, 0]]
    assert f"warming up with zeros: {text}" in caplog.text
