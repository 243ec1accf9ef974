"""What a model takes and gives, as ONNX Runtime tells it and as KServe v2 speaks of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from modelyard.datatypes import Datatype
from modelyard.errors import InvalidArgumentError
from modelyard.tensors import Array
from nodeagent.modelserver.datatypes import BY_ONNXRUNTIME_TYPE


class NodeArg(Protocol):
    """An input or output as onnxruntime describes it; a dimension that varies is a name or None."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; -1 in `shape` stands for a dimension that varies.

    An empty shape is a scalar or a tensor whose shape the model does not declare: onnxruntime tells them apart
    neither here nor when it checks an input, so any shape is let through for it.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def accepts(self, shape: Sequence[int]) -> bool:
        if not self.shape:
            return True
        return len(shape) == len(self.shape) and all(w in (-1, g) for w, g in zip(self.shape, shape, strict=True))

    def zeros(self) -> Array:
        """The smallest tensor of this kind: zeros (or empty strings), every dimension that varies 1."""
        shape = tuple(1 if dimension == -1 else dimension for dimension in self.shape)
        if self.datatype.name == "BYTES":
            return np.full(shape, "", np.object_)
        return np.zeros(shape, self.datatype.dtype)


@dataclass(frozen=True)
class Signature:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @cached_property
    def input_by_name(self) -> dict[str, TensorSpec]:
        return {spec.name: spec for spec in self.inputs}

    @cached_property
    def output_by_name(self) -> dict[str, TensorSpec]:
        return {spec.name: spec for spec in self.outputs}

    @cached_property
    def has_batch_dimension(self) -> bool:
        """Whether the first dimension of every input and output varies: what Triton takes for a batch, too."""
        return bool(self.inputs) and all(spec.shape[:1] == (-1,) for spec in (*self.inputs, *self.outputs))


def signature_of(inputs: Iterable[NodeArg], outputs: Iterable[NodeArg]) -> Signature:
    """Raises InvalidArgumentError where a tensor is of a kind that KServe v2 cannot carry."""
    return Signature(
        tuple(_tensor_spec("input", node) for node in inputs), tuple(_tensor_spec("output", node) for node in outputs)
    )


def _tensor_spec(kind: str, node: NodeArg) -> TensorSpec:
    datatype = BY_ONNXRUNTIME_TYPE.get(node.type)
    if datatype is None:
        hint = "; scikit-learn models: export with zipmap=False" if node.type.startswith("seq(map") else ""
        raise InvalidArgumentError(
            f"{kind} {node.name!r} is a {node.type}, which KServe v2 cannot carry: export the model with tensors of"
            f" {', '.join(t.removeprefix('tensor(').removesuffix(')') for t in BY_ONNXRUNTIME_TYPE)} only{hint}"
        )
    return TensorSpec(node.name, datatype, tuple(d if isinstance(d, int) and d >= 0 else -1 for d in node.shape))
