"""An ONNX file without its weights: small enough to parse and check, however large the file is.

Weights are what makes a model file large, and no check here looks at them. So the file is mapped, not read, its
protobuf wire format is walked, and large tensors are replaced by empty ones of the same name and type. What is left is
a valid ModelProto.
"""

from typing import Any

import onnx

from controlplane.registry.formats.protobuf_wire import BYTES, CutOffError, Field, WireError, read_fields
from modelyard.varint import encode_varint

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


def compute_skeleton(model: memoryview) -> bytes:
    """The ModelProto in `model` with its large tensors emptied. CutOffError, WireError."""
    return _strip(model, 0, len(model), onnx.ModelProto.DESCRIPTOR.full_name, level=0)


def _strip(view: memoryview, start: int, end: int, kind: str, level: int) -> bytes:
    if level > _MOST_LEVELS:
        raise WireError(f"graphs are nested more than {_MOST_LEVELS} deep")
    nested = _NESTED[kind]
    parts: list[bytes | memoryview] = [_NO_ELEMENTS] if kind == _TENSOR else []
    for field in read_fields(view, start, end):
        if kind == _TENSOR and field.number in _VALUES:
            continue
        inner = nested.get(field.number)
        if inner and field.wire_type == BYTES and field.end - field.body > _LARGE_BYTES:
            body = _strip_inner(view, field, inner, level + 1)
            parts += (encode_varint(field.number << 3 | BYTES), encode_varint(len(body)), body)
        else:
            parts.append(view[field.start : field.end])
    return b"".join(parts)


def _strip_inner(view: memoryview, field: Field, kind: str, level: int) -> bytes:
    try:
        return _strip(view, field.body, field.end, kind, level)
    except CutOffError as error:
        # The message around it is whole: so the file is damaged, not cut off.
        raise WireError("a field reaches beyond its message") from error
