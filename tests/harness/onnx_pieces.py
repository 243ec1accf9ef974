"""ONNX models made piece by piece, in memory: good ones, and bad ones in one respect."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def tensor(name: str, elem_type: int = TensorProto.FLOAT, shape: Sequence[int | str | None] = ("batch", 3)) -> Any:
    return helper.make_tensor_value_info(name, elem_type, shape)


def make_model(
    inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] | None = None,
    nodes: Sequence[Any] | None = None,
    weights: Sequence[Any] = (),
) -> Any:
    """x -> y = x, a FLOAT[batch, 3], unless told otherwise."""
    graph = helper.make_graph(
        nodes if nodes is not None else [helper.make_node("Identity", ["x"], ["y"])],
        "graph",
        inputs if inputs is not None else [tensor("x")],
        outputs if outputs is not None else [tensor("y")],
        weights,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def make_linear(columns: int = 2, seed: int = 0) -> Any:
    """x FLOAT[batch, 3] -> y FLOAT[batch, columns] = x @ w."""
    values = np.random.default_rng(seed).normal(size=(3, columns)).astype(np.float32)
    return make_model(
        outputs=[tensor("y", shape=("batch", columns))],
        nodes=[helper.make_node("MatMul", ["x", "w"], ["y"])],
        weights=[numpy_helper.from_array(values, "w")],
    )


def linear_bytes(columns: int = 2, seed: int = 0) -> bytes:
    content: bytes = make_linear(columns, seed).SerializeToString()
    return content
