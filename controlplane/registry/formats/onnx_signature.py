"""What an ONNX model takes and gives, in the words of KServe v2. Pure; works on a model without its weights."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import onnx

from controlplane.domain import Signature, TensorSpec
from controlplane.registry.formats.onnx_text import to_text
from modelyard.errors import InvalidArgumentError

_TYPES = onnx.TensorProto
_DATATYPES: dict[int, str] = {
    _TYPES.BOOL: "BOOL",
    _TYPES.UINT8: "UINT8",
    _TYPES.UINT16: "UINT16",
    _TYPES.UINT32: "UINT32",
    _TYPES.UINT64: "UINT64",
    _TYPES.INT8: "INT8",
    _TYPES.INT16: "INT16",
    _TYPES.INT32: "INT32",
    _TYPES.INT64: "INT64",
    _TYPES.FLOAT16: "FP16",
    _TYPES.FLOAT: "FP32",
    _TYPES.DOUBLE: "FP64",
    _TYPES.BFLOAT16: "BF16",
    _TYPES.STRING: "BYTES",
}


def compute_signature(graph: Any) -> Signature:
    """Of a GraphProto. InvalidArgumentError where KServe v2 has no words for it."""
    # Older models list their weights among the inputs.
    weights = {tensor.name for tensor in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    inputs = tuple(_spec("input", value) for value in graph.input if value.name not in weights)
    outputs = tuple(_spec("output", value) for value in graph.output)
    _check_names("input", inputs)
    _check_names("output", outputs)
    return Signature(inputs, outputs)


def _spec(side: str, value: Any) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        found = (kind or "of no type").removesuffix("_type").replace("_", " ")
        raise InvalidArgumentError(f"the {side} {value.name!r} is {found}; only tensors can be served: {_advice(kind)}")
    tensor = value.type.tensor_type
    if tensor.elem_type not in _DATATYPES:
        known = {number: name for name, number in _TYPES.DataType.items()}
        raise InvalidArgumentError(
            f"the {side} {value.name!r} has the type {known.get(tensor.elem_type, tensor.elem_type)}, "
            "which the KServe v2 protocol does not have; cast it inside the model, to FLOAT for instance"
        )
    if not tensor.HasField("shape"):
        raise InvalidArgumentError(
            f"the {side} {value.name!r} has no shape; save the model with one: "
            'onnx.save(onnx.shape_inference.infer_shapes(onnx.load("model.onnx")), "model.onnx")'
        )
    return TensorSpec(to_text(value.name), _DATATYPES[tensor.elem_type], tuple(_size(dim) for dim in tensor.shape.dim))


def _advice(kind: str | None) -> str:
    if kind in ("sequence_type", "map_type"):
        return "export it without that step (skl2onnx: options={'zipmap': False})"
    return "change the model so that it takes and gives plain tensors"


def _size(dim: Any) -> int:
    """-1 for a dimension with a name, without a value, or with a negative one."""
    return max(dim.dim_value, -1) if dim.HasField("dim_value") else -1


def _check_names(side: str, specs: Iterable[TensorSpec]) -> None:
    counts = Counter(spec.name for spec in specs)
    if not counts:
        raise InvalidArgumentError(
            f"the model has no {side}s, so nobody can ask it anything; export it with at least one"
        )
    for name, count in counts.items():
        if count > 1 or not name:
            raise InvalidArgumentError(
                f"{count} {side}s of the model have the name {name!r}; give each a name of its own"
            )
        if not name.isprintable():
            raise InvalidArgumentError(f"the {side} {name!r} has control characters in its name; rename it")
