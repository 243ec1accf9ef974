"""Weights of an ONNX model that lie in files beside it. Pure; works on a model without its other weights.

What `location`, `offset` and `length` mean: https://github.com/onnx/onnx/blob/main/docs/ExternalData.md
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import onnx

from controlplane.registry.formats.onnx_text import to_text
from modelyard.errors import InvalidArgumentError
from modelyard.packing import check_path

_TYPES = onnx.TensorProto
_BYTES = {
    _TYPES.FLOAT: 4,
    _TYPES.DOUBLE: 8,
    _TYPES.FLOAT16: 2,
    _TYPES.BFLOAT16: 2,
    _TYPES.INT8: 1,
    _TYPES.UINT8: 1,
    _TYPES.INT16: 2,
    _TYPES.UINT16: 2,
    _TYPES.INT32: 4,
    _TYPES.UINT32: 4,
    _TYPES.INT64: 8,
    _TYPES.UINT64: 8,
    _TYPES.BOOL: 1,
}


def take_external_data(model: Any, beside: Mapping[str, int] | None) -> tuple[str, ...]:
    """The files that a ModelProto's weights are in, sorted; afterwards those weights are empty ones of the model's own.

    `beside`: the files in the model's folder and their sizes in bytes; None for a file that was sent alone.
    InvalidArgumentError where a weight is not in one of them.
    """
    files = set()
    for tensor in _all_tensors(model):
        if tensor.data_location != _TYPES.EXTERNAL and not tensor.external_data:
            continue
        files.add(_check_tensor(tensor, beside))
        # onnx.checker would look for the file in the working folder.
        for field in ("external_data", "data_location", "dims"):
            tensor.ClearField(field)
        tensor.dims.append(0)
    return tuple(sorted(files))


def _check_tensor(tensor: Any, beside: Mapping[str, int] | None) -> str:
    """The file that the tensor is in."""
    told = {to_text(entry.key): to_text(entry.value) for entry in tensor.external_data}
    location = _location(to_text(tensor.name), told.get("location", ""))
    if beside is None:
        raise InvalidArgumentError(
            f"the weights {tensor.name!r} are in another file, {location!r}; register the folder that holds both, or "
            'save the model as one file: onnx.save(onnx.load("model.onnx"), "whole.onnx")'
        )
    if location not in beside:
        raise InvalidArgumentError(
            f"the weights {tensor.name!r} are in the file {location!r}, which is not beside the model; put it there"
        )
    offset = _number(tensor.name, told, "offset", 0)
    length = _number(tensor.name, told, "length", max(beside[location] - offset, 0))
    if offset + length > beside[location] or _needed_bytes(tensor) > length:
        raise InvalidArgumentError(
            f"the file {location!r} is too short for the weights {tensor.name!r}: it has {beside[location]} bytes, and "
            f"they begin at {offset} and take {max(length, _needed_bytes(tensor))}; copy or export it again"
        )
    return location


def _location(name: str, told: str) -> str:
    try:
        # Some exporters write "./weights".
        return check_path(told if told.startswith("/") else str(PurePosixPath(told)))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"the weights {name!r} are said to be in the file {told[:200]!r}; they have to lie in the model's folder: "
            "export the model again, with its external data beside it"
        ) from error


def _number(name: str, told: Mapping[str, str], key: str, default: int) -> int:
    text = told.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidArgumentError(f"the weights {name!r} have the {key} {text[:40]!r}, no number; export it again")
    return int(text)


def _needed_bytes(tensor: Any) -> int:
    """0 where the type's size, or the shape, is not plain."""
    if any(dim < 0 for dim in tensor.dims):
        return 0
    count: int = math.prod(tensor.dims)
    return count * _BYTES.get(tensor.data_type, 0)


def _all_tensors(model: Any) -> Iterator[Any]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    yield from _sparse_tensors(graph.sparse_initializer)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[Any]) -> Iterator[Any]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        yield from _sparse_tensors(attribute.sparse_tensors)
        if attribute.HasField("sparse_tensor"):
            yield from _sparse_tensors([attribute.sparse_tensor])
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)


def _sparse_tensors(tensors: Iterable[Any]) -> Iterator[Any]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)
