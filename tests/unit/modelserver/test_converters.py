"""Requests to arrays: what is right is taken, what is wrong is told by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from modelyard.datatypes import BY_NAME, DATATYPES
from modelyard.errors import InvalidArgumentError, ResourceExhaustedError, UnimplementedError
from nodeagent.modelserver.converters import Inference, inference_from_request, response_from_outputs
from nodeagent.modelserver.signature import Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec("x", BY_NAME["FP32"], (-1, 2)), TensorSpec("n", BY_NAME["INT8"], (1,))),
    outputs=(TensorSpec("y", BY_NAME["FP32"], (-1, 2)), TensorSpec("z", BY_NAME["BYTES"], ())),
)
Change = Callable[[Any], None]


def read(signature: Signature, request: Any, max_string_elements: int = 100) -> Inference:
    return inference_from_request(signature, request, request.raw_input_contents, max_string_elements)


def raw_request() -> Any:
    request = pb.ModelInferRequest()
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    request.inputs.add(name="n", datatype="INT8", shape=[1])
    request.raw_input_contents.extend([np.array([1, 2], np.float32).tobytes(), b"\x05"])
    return request


def typed_request() -> Any:
    request = pb.ModelInferRequest()
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([1, 2])
    request.inputs.add(name="n", datatype="INT8", shape=[1]).contents.int_contents.append(5)
    return request


@pytest.mark.parametrize("make", [raw_request, typed_request])
def test_raw_and_typed_contents_mean_the_same(make: Callable[[], Any]) -> None:
    inference = read(SIGNATURE, make())
    assert inference.output_names == ["y", "z"]
    assert inference.feeds["x"].tolist() == [[1.0, 2.0]]
    assert inference.feeds["n"].tolist() == [5]


def test_inputs_may_come_in_any_order() -> None:
    request = pb.ModelInferRequest()
    request.inputs.add(name="n", datatype="INT8", shape=[1])
    request.inputs.add(name="x", datatype="FP32", shape=[0, 2])
    request.raw_input_contents.extend([b"\x07", b""])
    feeds = read(SIGNATURE, request).feeds
    assert feeds["n"].tolist() == [7]
    assert feeds["x"].shape == (0, 2)


def test_requested_outputs_keep_the_order_of_the_request() -> None:
    request = raw_request()
    request.outputs.add(name="z")
    request.outputs.add(name="y")
    assert read(SIGNATURE, request).output_names == ["z", "y"]


def _set(index: int, **fields: Any) -> Change:
    def change(request: Any) -> None:
        for name, value in fields.items():
            if name == "shape":
                request.inputs[index].shape[:] = value
            else:
                setattr(request.inputs[index], name, value)

    return change


def _raw(index: int, value: bytes) -> Change:
    def change(request: Any) -> None:
        request.raw_input_contents[index] = value

    return change


def _both(request: Any) -> None:
    request.inputs[0].contents.fp32_contents.append(1)


def _one_raw(request: Any) -> None:
    del request.raw_input_contents[1]


def _drop_input(request: Any) -> None:
    del request.inputs[1]
    del request.raw_input_contents[1]


def _add(**fields: Any) -> Change:
    def change(request: Any) -> None:
        request.inputs.add(**fields)
        request.raw_input_contents.append(b"\0")

    return change


def _output(*names: str) -> Change:
    return lambda request: request.outputs.extend(
        pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in names
    )


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (_set(0, datatype="FP64"), ["input 'x'", "wanted FP32", "got FP64"]),
        (_set(0, datatype=""), ["input 'x'", "wanted FP32", "no datatype"]),
        (_set(0, shape=[2]), ["input 'x'", "wanted shape [-1, 2]", "got [2]"]),
        (_set(0, shape=[1, 3]), ["input 'x'", "wanted shape [-1, 2]", "got [1, 3]"]),
        (_set(0, shape=[-1, 2]), ["input 'x'", "[-1, 2]", "negative"]),
        (_set(0, shape=[2**62, 2]), ["input 'x'", "beyond all memory"]),
        (_set(0, shape=[2, 2]), ["input 'x'", "takes 16 bytes", "got 8"]),
        (_raw(0, b"123"), ["input 'x'", "takes 8 bytes", "got 3"]),
        (_set(1, name="nn"), ["no input 'nn'", "'x' (FP32 [-1, 2]), 'n' (INT8 [1])"]),
        (_set(1, name="x"), ["input 'x' is there twice"]),
        (_drop_input, ["missing input 'n'", "'n' (INT8 [1])"]),
        (_add(name="w", datatype="FP32", shape=[1]), ["no input 'w'"]),
        (_both, ["input 'x'", "both raw_input_contents and contents"]),
        (_one_raw, ["1 raw_input_contents for 2 inputs"]),
        (_output("q"), ["no output 'q'", "'y', 'z'"]),
        (_output("y", "y"), ["output 'y' is requested twice"]),
    ],
)
def test_what_is_wrong_is_named(change: Change, texts: list[str]) -> None:
    request = raw_request()
    change(request)
    with pytest.raises(InvalidArgumentError) as caught:
        read(SIGNATURE, request)
    for text in texts:
        assert text in caught.value.message


def _other_field(request: Any) -> None:
    request.inputs[0].contents.fp64_contents.append(1)


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (_other_field, ["input 'x'", "FP32 does not travel in fp64_contents", "use fp32_contents"]),
        (lambda request: request.inputs[0].ClearField("contents"), ["input 'x'", "takes 2 values, got 0"]),
        (lambda request: request.inputs[1].contents.int_contents.__setitem__(0, 300), ["input 'n'", "got 300"]),
    ],
)
def test_wrong_typed_contents_are_named(change: Change, texts: list[str]) -> None:
    request = typed_request()
    change(request)
    with pytest.raises(InvalidArgumentError) as caught:
        read(SIGNATURE, request)
    for text in texts:
        assert text in caught.value.message


@pytest.mark.parametrize("name", ["FP16", "BF16"])
def test_half_floats_travel_raw_only(name: str) -> None:
    signature = Signature((TensorSpec("x", BY_NAME[name], (-1,)),), ())
    request = pb.ModelInferRequest()
    request.inputs.add(name="x", datatype=name, shape=[1]).contents.fp32_contents.append(1)
    with pytest.raises(InvalidArgumentError, match="raw_input_contents"):
        read(signature, request)
    request.inputs[0].ClearField("contents")
    with pytest.raises(InvalidArgumentError, match="raw_input_contents only"):
        read(signature, request)


def test_an_empty_tensor_with_an_absurd_dimension_is_refused() -> None:
    signature = Signature((TensorSpec("x", BY_NAME["FP32"], (-1, -1)),), ())
    request = pb.ModelInferRequest(raw_input_contents=[b""])
    request.inputs.add(name="x", datatype="FP32", shape=[0, 2**62])
    with pytest.raises(InvalidArgumentError, match="beyond all memory"):
        read(signature, request)


def test_an_undeclared_shape_takes_any_but_not_hundreds_of_dimensions() -> None:
    signature = Signature((TensorSpec("x", BY_NAME["UINT8"], ()),), ())
    for shape in ([], [1], [1, 1, 1]):
        request = pb.ModelInferRequest(raw_input_contents=[b"\x01"])
        request.inputs.add(name="x", datatype="UINT8", shape=shape)
        assert read(signature, request).feeds["x"].shape == tuple(shape)
    request.inputs[0].shape[:] = [1] * 100
    with pytest.raises(InvalidArgumentError, match="of 100 dimensions"):
        read(signature, request)


@pytest.mark.parametrize("name", ["shared_memory_region", "sequence_id", "classification"])
def test_parameters_that_would_change_the_meaning_are_refused(name: str) -> None:
    request = raw_request()
    for place in (request, request.inputs[0], request.outputs.add(name="y")):
        place.parameters[name].int64_param = 1
        with pytest.raises(UnimplementedError, match=name):
            read(SIGNATURE, request)
        del place.parameters[name]
    read(SIGNATURE, request)


def test_other_parameters_are_left_unread() -> None:
    request = raw_request()
    request.parameters["priority"].uint64_param = 1
    request.parameters["sequence_id"].int64_param = 0  # what clients send for "no sequence"
    request.inputs[0].parameters["binary_data_size"].int64_param = 8
    request.outputs.add(name="y").parameters["binary_data"].bool_param = True
    assert read(SIGNATURE, request).output_names == ["y"]


def strings_request(count: int) -> Any:
    """Empty ones, half of them in each of two inputs."""
    request = pb.ModelInferRequest()
    for name in ("a", "b"):
        request.inputs.add(name=name, datatype="BYTES", shape=[count // 2])
        request.raw_input_contents.append(bytes(4 * (count // 2)))
    return request


def test_strings_are_counted_over_all_inputs() -> None:
    signature = Signature(tuple(TensorSpec(name, BY_NAME["BYTES"], (-1,)) for name in "ab"), ())
    assert read(signature, strings_request(6), max_string_elements=6).feeds["b"].tolist() == [""] * 3
    with pytest.raises(InvalidArgumentError, match=r"input 'b': .* more strings than the 5 that --max-string-elements"):
        read(signature, strings_request(6), max_string_elements=5)


@pytest.mark.parametrize("field", ["raw", "typed"])
def test_too_many_strings_are_refused_before_one_is_read(field: str) -> None:
    signature = Signature((TensorSpec("x", BY_NAME["BYTES"], (-1,)),), ())
    request = pb.ModelInferRequest()
    contents = request.inputs.add(name="x", datatype="BYTES", shape=[101]).contents
    if field == "raw":
        request.raw_input_contents.append(b"\xff" * 404)  # not even their lengths are true
    else:
        contents.bytes_contents.extend([b"\xff"] * 101)
    with pytest.raises(InvalidArgumentError, match="more strings than the 100"):
        read(signature, request)


def test_outputs_become_raw_contents() -> None:
    response = pb.ModelInferResponse()
    outputs = [np.array("é", np.object_), np.array([[1, 2]], np.float32)]
    raws = response_from_outputs(SIGNATURE, ["z", "y"], outputs, response, max_bytes=14)
    assert [(out.name, out.datatype, list(out.shape)) for out in response.outputs] == [
        ("z", "BYTES", []),
        ("y", "FP32", [1, 2]),
    ]
    assert list(map(bytes, raws)) == [b"\x02\0\0\0\xc3\xa9", np.array([1, 2], np.float32).tobytes()]


def test_an_answer_beyond_the_limit_is_refused() -> None:
    outputs = [np.zeros((1, 2), np.float32)]
    with pytest.raises(ResourceExhaustedError, match="7 bytes that --max-message-bytes allows"):
        response_from_outputs(SIGNATURE, ["y"], outputs, pb.ModelInferResponse(), max_bytes=7)


def test_every_contents_field_exists() -> None:
    fields = pb.InferTensorContents.DESCRIPTOR.fields_by_name
    assert all(datatype.contents is None or datatype.contents in fields for datatype in DATATYPES)
