"""onnxruntime behind its wrapper: every type, and its errors in our words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelyard.datatypes import DATATYPES, Datatype
from modelyard.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from nodeagent.modelserver.onnx_errors import shorten
from nodeagent.modelserver.onnx_session import OnnxSession
from tests.harness.onnx_models import tensor, write_identity_model, write_model, write_sum_model


def load(path: Path) -> OnnxSession:
    return OnnxSession(path, threads=1, max_string_elements=6)


def sample(datatype: Datatype) -> Any:
    if datatype.name == "BYTES":
        return np.array([["", "é", "a\0b"], ["x" * 1000, "1", "2"]], np.object_)
    return np.array([[0, 1, 1], [1, 0, 1]]).astype(datatype.dtype)


@pytest.mark.parametrize("datatype", DATATYPES, ids=lambda datatype: datatype.name)
def test_every_type_goes_in_and_out(datatype: Datatype, tmp_path: Path) -> None:
    session = load(write_identity_model(tmp_path / "m.onnx", datatype.name, ["b", 3]))
    assert session.signature.inputs[0].datatype == datatype
    assert session.signature.inputs[0].shape == (-1, 3)
    for array in (sample(datatype), sample(datatype)[:0]):
        [output] = session.run(["y"], {"x": array})
        assert output.dtype == datatype.dtype and output.shape == array.shape
        assert output.tolist() == array.tolist()
    session.run(["y"], {"x": session.signature.inputs[0].zeros()})


@pytest.mark.parametrize("datatype", DATATYPES, ids=lambda datatype: datatype.name)
def test_every_type_may_be_a_scalar(datatype: Datatype, tmp_path: Path) -> None:
    session = load(write_identity_model(tmp_path / "m.onnx", datatype.name, []))
    value = sample(datatype)[0, 1]
    [output] = session.run(["y"], {"x": np.full((), value, datatype.dtype)})
    assert output.shape == () and output.tolist() == value


def test_bf16_is_computed_as_bf16(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), helper.make_node("Add", ["f", "f"], ["y"])]
    path = write_model(tmp_path / "m.onnx", nodes, [tensor("x", "BF16", [2])], [tensor("y", "FP32", [2])])
    bits = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    assert load(path).run(["y"], {"x": bits})[0].tolist() == [3.0, -4.0]


def test_bf16_beside_other_types(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["x"], ["text"], to=TensorProto.STRING),
    ]
    outputs = [tensor("y", "BF16", ["n"]), tensor("text", "BYTES", ["n"])]
    session = load(write_model(tmp_path / "m.onnx", nodes, [tensor("x", "FP32", ["n"])], outputs))
    text, bits = session.run(["text", "y"], {"x": np.array([1.0], np.float32)})
    assert text.tolist() == ["1"]
    assert bits.tolist() == [0x3F80]


@pytest.mark.parametrize("datatype", ["INT64", "BYTES"])
def test_more_strings_than_the_limit_are_no_answer(datatype: str, tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["x"], ["text"], to=TensorProto.STRING)
    make = cast if datatype == "INT64" else helper.make_node("Identity", ["x"], ["text"])
    nodes = [make, helper.make_node("Identity", ["text"], ["again"])]
    outputs = [tensor("text", "BYTES", ["n"]), tensor("again", "BYTES", ["n"])]
    session = load(write_model(tmp_path / "m.onnx", nodes, [tensor("x", datatype, ["n"])], outputs))
    three, four = (np.array(list("1234"[:count])).astype("i8" if datatype == "INT64" else "O") for count in (3, 4))
    assert [text.tolist() for text in session.run(["text", "again"], {"x": three})] == [["1", "2", "3"]] * 2
    assert session.run(["text"], {"x": four})[0].tolist() == ["1", "2", "3", "4"]
    with pytest.raises(ResourceExhaustedError, match="more strings than the 6 that --max-string-elements"):
        session.run(["text", "again"], {"x": four})


def test_text_in_and_bf16_out_is_refused_at_load(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)]
    path = write_model(tmp_path / "m.onnx", nodes, [tensor("x", "BYTES", ["n"])], [tensor("y", "BF16", ["n"])])
    with pytest.raises(InvalidArgumentError, match=r"cannot load|cast the outputs to float"):
        load(path)


def test_only_what_is_asked_for_is_returned(tmp_path: Path) -> None:
    session = load(write_sum_model(tmp_path / "m.onnx"))
    feeds = {"a": np.array([3], np.float32), "b": np.array([1], np.float32)}
    assert [out.tolist() for out in session.run(["difference"], feeds)] == [[2]]
    assert [out.tolist() for out in session.run(["difference", "sum"], feeds)] == [[2], [4]]


def test_shapes_that_do_not_fit_each_other_are_the_callers_fault(tmp_path: Path) -> None:
    session = load(write_sum_model(tmp_path / "m.onnx"))
    with pytest.raises(InvalidArgumentError) as caught:
        session.run(["sum"], {"a": np.zeros(3, np.float32), "b": np.zeros(4, np.float32)})
    assert " node" in caught.value.message and "3 by 4" in caught.value.message
    assert "onnxruntime_src" not in caught.value.message and "ONNXRuntimeError" not in caught.value.message


def test_memory_that_cannot_be_had_is_a_limit(tmp_path: Path) -> None:
    nodes = [helper.make_node("ConstantOfShape", ["n"], ["y"])]
    session = load(write_model(tmp_path / "m.onnx", nodes, [tensor("n", "INT64", [1])], [tensor("y", "FP32", None)]))
    with pytest.raises(ResourceExhaustedError, match="not enough memory"):
        session.run(["y"], {"n": np.array([2**44])})


def test_a_terminated_session_says_so(tmp_path: Path) -> None:
    session = load(write_sum_model(tmp_path / "m.onnx"))
    session.terminate()
    with pytest.raises(UnavailableError, match="stopped"):
        session.run(["sum"], {"a": np.ones(1, np.float32), "b": np.ones(1, np.float32)})


@pytest.mark.parametrize("content", [b"", b"not a model" * 50, b"\x08\x09"])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidArgumentError, match=r"onnxruntime cannot load it: ."):
        load(path)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = write_sum_model(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidArgumentError, match="cannot load"):
        load(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot load"):
        load(tmp_path / "none.onnx")


def test_outputs_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("SequenceConstruct", ["x"], ["y"])]
    outputs = [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)]
    path = write_model(tmp_path / "m.onnx", nodes, [tensor("x", "FP32", [1])], outputs)
    with pytest.raises(InvalidArgumentError, match=r"output 'y' is a seq\(tensor\(float\)\)"):
        load(path)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'' Status"
            " Message: /onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:563 void"
            " onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false."
            " Attempting to broadcast an axis by a dimension other than 1. 3 by 4\n",
            "Non-zero status code returned while running Add node. Name:'' Status Message: Attempting to broadcast an"
            " axis by a dimension other than 1. 3 by 4",
        ),
        (
            "Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void*"
            " onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate memory",
            "Message: Failed to allocate memory",
        ),
        ("[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model x failed", "Load model x failed"),
        ("plain text", "plain text"),
        ("x" * 1000, "x" * 297 + "..."),
    ],
)
def test_error_texts_are_shortened(text: str, short: str) -> None:
    assert shorten(text) == short
