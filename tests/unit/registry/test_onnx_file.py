"""Which files are taken, what is read from them, and what the owner of a bad one is told."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from controlplane.domain import OnnxDetails, Signature, TensorSpec
from controlplane.registry.formats.onnx_file import read_onnx
from modelyard.errors import InvalidArgumentError
from tests.harness.onnx_pieces import linear_bytes, make_linear, make_model, tensor


def read(tmp_path: Path, content: object) -> Signature:
    path = tmp_path / "model"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())  # type: ignore[attr-defined]
    return read_onnx(path).signature


def test_the_signature_has_names_types_and_open_dimensions(tmp_path: Path) -> None:
    assert read(tmp_path, make_linear(columns=2)) == Signature(
        inputs=(TensorSpec("x", "FP32", (-1, 3)),), outputs=(TensorSpec("y", "FP32", (-1, 2)),)
    )


def test_weights_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = make_linear()
    model.graph.input.append(tensor("w", shape=(3, 2)))
    assert [spec.name for spec in read(tmp_path, model).inputs] == ["x"]


@pytest.mark.parametrize(
    ("elem_type", "datatype"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.UINT16, "UINT16"),
        (TensorProto.UINT32, "UINT32"),
        (TensorProto.UINT64, "UINT64"),
        (TensorProto.INT8, "INT8"),
        (TensorProto.INT16, "INT16"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.FLOAT, "FP32"),
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.STRING, "BYTES"),
        (TensorProto.BFLOAT16, "BF16"),
    ],
)
def test_every_type_of_the_protocol_is_known(tmp_path: Path, elem_type: int, datatype: str) -> None:
    model = make_model([tensor("x", elem_type)], [tensor("y", elem_type)])
    assert read(tmp_path, model).inputs[0].datatype == datatype


def test_dimensions_by_name_without_value_and_below_zero_are_open(tmp_path: Path) -> None:
    model = make_model([tensor("x", shape=("n", None, -3, 7))], [tensor("y", shape=())])
    signature = read(tmp_path, model)
    assert signature.inputs[0].shape == (-1, -1, -1, 7)
    assert signature.outputs[0].shape == ()


@pytest.mark.parametrize("content", [b"\x00\x01\x02\xff" * 50, b"\x08\x01\x12\x02\x0a\x00"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match=r"not an? (ONNX )?model.*SavedModel or a TensorRT plan"):
        read(tmp_path, content)


def test_who_made_the_model_and_of_what_is_told(tmp_path: Path) -> None:
    model = make_model()
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    model.producer_name, model.producer_version = "pytorch", "2.9"
    (tmp_path / "model").write_bytes(model.SerializeToString())
    assert read_onnx(tmp_path / "model").details == OnnxDetails(8, {"": 17, "ai.onnx.ml": 3}, "pytorch", "2.9")


def test_every_cut_of_a_model_is_refused(tmp_path: Path) -> None:
    content = linear_bytes()
    for size in range(len(content)):
        with pytest.raises(InvalidArgumentError):
            read(tmp_path, content[:size])
    with pytest.raises(InvalidArgumentError, match="cut off: 7 or more bytes are missing"):
        read(tmp_path, make_model(weights=[numpy_helper.from_array(np.ones(10), "w")]).SerializeToString()[:-13])


def test_damage_inside_is_refused(tmp_path: Path) -> None:
    content = bytearray(linear_bytes())
    content[5] = 0xFF  # the length of the first node
    with pytest.raises(InvalidArgumentError, match="damaged"):
        read(tmp_path, bytes(content))


def test_what_the_protocol_cannot_carry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'x' has the type FLOAT8E4M3FN.*cast"):
        read(tmp_path, make_model([tensor("x", TensorProto.FLOAT8E4M3FN)]))
    sequence = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    with pytest.raises(InvalidArgumentError, match="output 'y' is sequence; only tensors"):
        read(tmp_path, make_model(outputs=[sequence]))
    shapeless = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    with pytest.raises(InvalidArgumentError, match=r"output 'y' has no shape.*infer_shapes"):
        read(tmp_path, make_model(outputs=[shapeless]))


def test_inputs_and_outputs_are_there_and_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="2 inputs of the model have the name 'x'"):
        read(tmp_path, make_model([tensor("x"), tensor("x")]))
    with pytest.raises(InvalidArgumentError, match="no outputs"):
        read(tmp_path, make_model(outputs=[]))
    with pytest.raises(InvalidArgumentError, match="no inputs"):
        read(tmp_path, make_model(inputs=[]))


def test_what_onnx_itself_refuses_is_refused_in_its_words(tmp_path: Path) -> None:
    unknown = make_model(nodes=[helper.make_node("Identity", ["x"], ["y"], no_such_attribute=1)])
    with pytest.raises(InvalidArgumentError, match=r"onnx\.checker refuses the model: .*no_such_attribute"):
        read(tmp_path, unknown)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    content = linear_bytes().replace(b"\x0a\x01x", b"\x0a\x01\xff")
    with pytest.raises(InvalidArgumentError, match="damaged"):
        read(tmp_path, content)
