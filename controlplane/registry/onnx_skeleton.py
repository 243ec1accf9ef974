"""An ONNX file without its weights: small enough to parse and check, however large the file is.

Weights are what makes a model file large, and no check here looks at them. So the file is mapped, not read, its
protobuf wire format is walked, and large tensors are replaced by empty ones of the same name and type. What is left is
a valid ModelProto. Wire format: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import onnx

from modelyard.varint import encode_varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Smaller messages are copied as they are.
_LARGE_BYTES = 4096
# Deeper than any real graph in a graph; the same limit as protobuf's own.
_MOST_LEVELS = 100
_TENSOR = "onnx.TensorProto"
_NO_ELEMENTS = b"\x08\x00"  # dims: 0


def _fields_that_hold_tensors(*messages: Any) -> dict[str, dict[int, str]]:
    kinds = {message.DESCRIPTOR.full_name for message in messages}
    return {
        message.DESCRIPTOR.full_name: {
            field.number: field.message_type.full_name
            for field in message.DESCRIPTOR.fields
            if field.message_type is not None and field.message_type.full_name in kinds
        }
        for message in messages
    }


_NESTED = _fields_that_hold_tensors(
    onnx.ModelProto,
    onnx.TrainingInfoProto,
    onnx.FunctionProto,
    onnx.GraphProto,
    onnx.NodeProto,
    onnx.AttributeProto,
    onnx.TensorProto,
)
_VALUES = {
    onnx.TensorProto.DESCRIPTOR.fields_by_name[name].number
    for name in (
        "dims",
        "float_data",
        "int32_data",
        "string_data",
        "int64_data",
        "raw_data",
        "double_data",
        "uint64_data",
    )
}


class WireError(Exception):
    """These bytes are no protobuf message."""


class CutOffError(WireError):
    """The file ends before its last field does; `missing_bytes` tells by how much."""

    def __init__(self, missing_bytes: int) -> None:
        super().__init__(f"{missing_bytes} bytes are missing")
        self.missing_bytes = missing_bytes


class _Field(NamedTuple):
    number: int
    wire_type: int
    start: int  # of the tag
    body: int  # of the value; for bytes, behind their length
    end: int


def compute_skeleton(model: memoryview) -> bytes:
    """The ModelProto in `model` with its large tensors emptied. CutOffError, WireError."""
    return _strip(model, 0, len(model), onnx.ModelProto.DESCRIPTOR.full_name, level=0)


def _strip(view: memoryview, start: int, end: int, kind: str, level: int) -> bytes:
    if level > _MOST_LEVELS:
        raise WireError(f"graphs are nested more than {_MOST_LEVELS} deep")
    nested = _NESTED[kind]
    parts: list[bytes | memoryview] = [_NO_ELEMENTS] if kind == _TENSOR else []
    for field in _fields(view, start, end):
        if kind == _TENSOR and field.number in _VALUES:
            continue
        inner = nested.get(field.number)
        if inner and field.wire_type == _BYTES and field.end - field.body > _LARGE_BYTES:
            body = _strip_inner(view, field, inner, level + 1)
            parts += (encode_varint(field.number << 3 | _BYTES), encode_varint(len(body)), body)
        else:
            parts.append(view[field.start : field.end])
    return b"".join(parts)


def _strip_inner(view: memoryview, field: _Field, kind: str, level: int) -> bytes:
    try:
        return _strip(view, field.body, field.end, kind, level)
    except CutOffError as error:
        # The message around it is whole: so the file is damaged, not cut off.
        raise WireError("a field reaches beyond its message") from error


def _fields(view: memoryview, start: int, end: int) -> Iterator[_Field]:
    position = start
    while position < end:
        tag, body = _read_varint(view, position, end)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise WireError("a field has the number 0")
        if wire_type == _VARINT:
            _, field_end = _read_varint(view, body, end)
        elif wire_type == _BYTES:
            length, body = _read_varint(view, body, end)
            field_end = body + length
        elif wire_type in (_FIXED64, _FIXED32):
            field_end = body + (8 if wire_type == _FIXED64 else 4)
        else:
            raise WireError(f"a field has the wire type {wire_type}")
        if field_end > end:
            raise CutOffError(field_end - end)
        yield _Field(number, wire_type, position, body, field_end)
        position = field_end


def _read_varint(view: memoryview, position: int, end: int) -> tuple[int, int]:
    """The number at `position`, and where the next thing begins."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise CutOffError(1)
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise WireError("a number has more than 10 bytes")
