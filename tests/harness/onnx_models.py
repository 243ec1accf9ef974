"""Small ONNX models of any shape and type, built node by node."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from modelyard.tensors import Array

ONNX_TYPES: Mapping[str, int] = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}

Shape = Sequence[int | str] | None


def tensor(name: str, datatype: str, shape: Shape) -> ValueInfoProto:
    """An input or output; a dimension that varies is a name, and a shape of None is not declared at all."""
    return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], shape)


def write_model(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: Sequence[TensorProto] = (),
) -> Path:
    graph = helper.make_graph(nodes, "model", inputs, outputs, initializers)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def write_identity_model(path: Path, datatype: str, shape: Shape) -> Path:
    """y = x."""
    return write_model(
        path,
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", datatype, shape)],
        [tensor("y", datatype, shape)],
    )


def write_sum_model(path: Path) -> Path:
    """sum = a + b and difference = a - b, FP32 of any two lengths: what cannot be broadcast fails as it runs."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])]
    inputs = [tensor("a", "FP32", ["n"]), tensor("b", "FP32", ["m"])]
    return write_model(path, nodes, inputs, [tensor("sum", "FP32", ["k"]), tensor("difference", "FP32", ["k"])])


def write_counting_model(path: Path) -> Path:
    """count = n, FP32, reached by adding 1 for n times: it takes as long as it is asked to.

    The input n is INT64 of shape [1]; a million take seconds.
    """
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_out"]),
            helper.make_node("Add", ["so_far", "one"], ["so_far_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            tensor("so_far", "FP32", []),
        ],
        [helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []), tensor("so_far_out", "FP32", [])],
    )
    initializers = [
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("always", TensorProto.BOOL, [], [True]),
    ]
    nodes = [
        helper.make_node("Squeeze", ["n"], ["times"]),
        helper.make_node("Loop", ["times", "always", "zero"], ["count"], body=body),
    ]
    return write_model(path, nodes, [tensor("n", "INT64", [1])], [tensor("count", "FP32", [])], initializers)


def write_stubborn_model(path: Path) -> Path:
    """kept = the indices of all `boxes` that overlap with none before: one node, which nothing can end on its way.

    `boxes` are FP32 [1, n, 4], `scores` FP32 [1, 1, n]. Where no boxes overlap it takes about (n / 30,000)^2 seconds.
    """
    return write_model(
        path,
        [helper.make_node("NonMaxSuppression", ["boxes", "scores", "most"], ["kept"])],
        [tensor("boxes", "FP32", [1, "n", 4]), tensor("scores", "FP32", [1, 1, "n"])],
        [tensor("kept", "INT64", ["k", 3])],
        [helper.make_tensor("most", TensorProto.INT64, [], [2**40])],
    )


def write_model_with_external_data(path: Path, factors: Array, data: str = "weights/factors.bin") -> Path:
    """y[b, n] = x[b, n] * factors[n], FP32, with the factors in a file of their own in the model's folder."""
    weights = numpy_helper.from_array(factors, "factors")
    set_external_data(weights, location=data, offset=0, length=factors.nbytes)
    (path.parent / data).parent.mkdir(parents=True, exist_ok=True)
    (path.parent / data).write_bytes(factors.tobytes())
    weights.ClearField("raw_data")
    shape: Shape = ["batch", len(factors)]
    node = helper.make_node("Mul", ["x", "factors"], ["y"])
    return write_model(path, [node], [tensor("x", "FP32", shape)], [tensor("y", "FP32", shape)], [weights])
