"""What a call names, what it sends, and what it makes of the reply."""

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from modelyard import _inference
from modelyard._target import Target, make_headers, resolve_target
from modelyard.errors import InternalError, InvalidArgumentError


@pytest.mark.parametrize(
    ("named", "target", "key"),
    [
        ((("resnet",), {}), Target("resnet"), "resnet"),
        ((("resnet",), {"alias": "staging"}), Target("resnet", "staging"), "resnet@staging"),
        ((("resnet",), {"version": 3}), Target("resnet", "3"), "resnet@3"),
        ((("resnet",), {"version": "3"}), Target("resnet", "3"), "resnet@3"),
        ((("resnet@3",), {}), Target("resnet", "3"), "resnet@3"),
        ((("resnet@staging",), {}), Target("resnet", "staging"), "resnet@staging"),
        (((), {"model_id": "resnet@3"}), Target("resnet", "3"), "resnet@3"),
        ((("resnet",), {"model_id": "resnet@3"}), Target("resnet", "3"), "resnet@3"),
    ],
)
def test_one_thing_is_named(named: tuple[tuple[str, ...], dict[str, Any]], target: Target, key: str) -> None:
    positional, keywords = named
    assert resolve_target(*positional, **keywords) == target
    assert target.key == key


@pytest.mark.parametrize(
    ("positional", "keywords"),
    [
        ((), {}),
        (("resnet",), {"alias": "a", "version": 3}),
        (("resnet@3",), {"alias": "a"}),
        (("resnet@3",), {"version": 3}),
        (("other",), {"model_id": "resnet@3"}),
        ((), {"model_id": "resnet@3", "alias": "a"}),
        ((), {"model_id": "resnet"}),
        ((), {"model_id": "resnet@staging"}),
        (("resnet",), {"version": 0}),
        (("resnet",), {"version": "staging"}),
        (("resnet",), {"alias": "3"}),
        (("../etc",), {}),
        (("resnet@",), {}),
        (("resnet\n",), {}),
        (("resnet@\u0663",), {}),
        (("resnet",), {"version": "9" * 5000 + "x"}),
    ],
)
def test_nothing_two_things_and_wrong_things_are_refused(positional: tuple[str, ...], keywords: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        resolve_target(*positional, **keywords)


@pytest.mark.parametrize(
    ("positional", "keywords", "option"),
    [((5,), {}, "model"), (("m",), {"alias": 3}, "alias"), ((), {"model_id": 3}, "model_id")],
)
def test_a_name_that_is_no_string_is_told(positional: tuple[Any, ...], keywords: dict[str, Any], option: str) -> None:
    with pytest.raises(TypeError, match=f"{option} must be a string"):
        resolve_target(*positional, **keywords)


def test_a_request_is_what_protobuf_would_have_made() -> None:
    inputs = {"x": np.arange(300, dtype=np.float32), "text": np.array([b"a", "é"], np.object_)}
    serialized = _inference.serialize_request(Target("resnet", "3"), inputs, ["y"])
    request = service_pb2.ModelInferRequest.FromString(serialized)
    assert (request.model_name, request.model_version) == ("resnet", "3")
    assert [(t.name, t.datatype, list(t.shape)) for t in request.inputs] == [
        ("x", "FP32", [300]),
        ("text", "BYTES", [2]),
    ]
    assert [output.name for output in request.outputs] == ["y"]
    assert list(request.raw_input_contents) == [inputs["x"].tobytes(), b"\x01\0\0\0a\x02\0\0\0\xc3\xa9"]


@pytest.mark.parametrize(("version", "number"), [("", ""), ("3", "3"), ("staging", ""), ("v3", "")])
def test_an_alias_is_named_in_the_header_alone(version: str, number: str) -> None:
    target = Target("resnet", version)
    request = service_pb2.ModelInferRequest.FromString(_inference.serialize_request(target, {}))
    assert (request.model_name, request.model_version) == ("resnet", number)
    assert make_headers(target) == [("x-model", f"resnet@{version}" if version else "resnet")]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_any_length_is_encoded(size: int) -> None:
    serialized = _inference.serialize_request(Target("m"), {"x": np.zeros(size, np.uint8)})
    assert len(service_pb2.ModelInferRequest.FromString(serialized).raw_input_contents[0]) == size


def test_an_input_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"input 'z'.*complex"):
        _inference.serialize_request(Target("m"), {"z": np.zeros(1, np.complex64)})


def test_arrays_are_never_cast_and_values_always() -> None:
    arrays = _inference.as_arrays({"a": np.zeros(1, np.float64), "b": [1, 2]}, {"a": "FP32", "b": "FP32"})
    assert (arrays["a"].dtype, arrays["b"].dtype) == (np.dtype(np.float64), np.dtype(np.float32))


def test_a_value_for_an_input_that_the_model_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(InvalidArgumentError, match=r"no input 'c'.* a, b"):
        _inference.as_arrays({"c": [1]}, {"a": "FP32", "b": "FP32"})


def test_inputs_are_given_once_and_at_all() -> None:
    assert _inference.merge_inputs({"a:0": 1}, {"b": 2}) == {"a:0": 1, "b": 2}
    for inputs, keywords in (({"a": 1}, {"a": 2}), (None, {}), ({}, {})):
        with pytest.raises(InvalidArgumentError):
            _inference.merge_inputs(inputs, keywords)
    with pytest.raises(TypeError, match="inputs must be a dict"):
        _inference.merge_inputs(np.zeros(1), {})  # type: ignore[arg-type]


def test_a_reply_of_raw_bytes_becomes_views() -> None:
    reply = service_pb2.ModelInferResponse(raw_output_contents=[np.array([1, 2], np.float32).tobytes(), b"\x01\0\0\0a"])
    reply.outputs.add(name="y", datatype="FP32", shape=[2])
    reply.outputs.add(name="label", datatype="BYTES", shape=[1, 1])
    outputs = _inference.parse_response(reply)
    assert outputs["y"].tolist() == [1, 2] and not outputs["y"].flags.writeable
    assert outputs["label"].tolist() == [[b"a"]]


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [("INT8", "int_contents", [-1, 2]), ("BOOL", "bool_contents", [True, False]), ("BYTES", "bytes_contents", [b"a"])],
)
def test_a_reply_of_typed_contents_is_understood(datatype: str, field: str, values: list[Any]) -> None:
    reply = service_pb2.ModelInferResponse()
    output = reply.outputs.add(name="y", datatype=datatype, shape=[len(values)])
    getattr(output.contents, field).extend(values)
    assert _inference.parse_response(reply)["y"].tolist() == values


def test_a_reply_with_a_missing_content_is_refused() -> None:
    reply = service_pb2.ModelInferResponse(raw_output_contents=[b"1234"])
    for name in "ab":
        reply.outputs.add(name=name, datatype="FP32", shape=[1])
    with pytest.raises(InternalError, match="2 outputs and 1"):
        _inference.parse_response(reply)
