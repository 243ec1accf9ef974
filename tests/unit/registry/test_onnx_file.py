"""Which files are taken, what is read from them, and what the owner of a bad one is told."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from controlplane.domain import Signature, TensorSpec
from controlplane.registry.onnx_file import read_signature
from modelyard.errors import InvalidArgumentError
from tests.harness.onnx_pieces import linear_bytes, make_linear, make_model, tensor


def read(tmp_path: Path, content: object) -> Signature:
    path = tmp_path / "model"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())  # type: ignore[attr-defined]
    return read_signature(path)


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


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


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"import torch\nmodel = 1\n", "looks like text"),
        ("Straße\n".encode() * 300, "looks like text"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (pickle.dumps({"weights": [1]}), r"pickle.*torch\.onnx\.export\("),
        (zipped("archive/data.pkl", "archive/data/0"), r"PyTorch file.*torch\.onnx\.export\("),
        (zipped("m/saved_model.pb", "m/variables/x"), "SavedModel.*not supported yet"),
        (zipped("dir/resnet.onnx"), "unpack it"),
        (zipped("a.txt"), "zip archive"),
        (zipped("dir/resnet.onnx")[:20], "zip archive that is cut off"),
        (b"ptrt\x00\x00\x01", "TensorRT plan.*not supported yet"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"\x50\x00\x00\x00\x00\x00\x00\x00" + b'{"__metadata__"', "safetensors"),
        (b"\x7fELF\x02", "program"),
        (b"\x00\x01\x02\xff" * 50, "not an ONNX model"),
        (b"\x08\x01\x12\x02\x0a\x00", "SavedModel"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        read(tmp_path, content)


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


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    model = make_linear()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../../etc/passwd")
    with pytest.raises(InvalidArgumentError, match=r"'w' are in another file.*save_as_external_data=False"):
        read(tmp_path, model)


def test_weights_of_a_branch_in_another_file_are_refused(tmp_path: Path) -> None:
    outside = helper.make_tensor("hidden", TensorProto.FLOAT, (0,), [])
    outside.data_location = TensorProto.EXTERNAL
    branch = helper.make_graph([helper.make_node("Constant", [], ["b"], value=outside)], "branch", [], [tensor("b")])
    model = make_model(nodes=[helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)])
    with pytest.raises(InvalidArgumentError, match="'hidden' are in another file"):
        read(tmp_path, model)


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
    unknown = make_model(nodes=[helper.make_node("NoSuchOperator", ["x"], ["y"])])
    with pytest.raises(InvalidArgumentError, match=r"onnx\.checker refuses the model: .*NoSuchOperator"):
        read(tmp_path, unknown)


def test_operators_of_a_runtime_are_left_to_the_runtime(tmp_path: Path) -> None:
    model = make_model(nodes=[helper.make_node("FastGelu", ["x"], ["y"], domain="com.microsoft")])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert read(tmp_path, model).outputs[0].name == "y"
