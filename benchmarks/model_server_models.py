"""The models that are served: their files, one request, and what the right answer is."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import service_pb2 as pb

from benchmarks.model_server_http2 import LoadError
from modelyard.tensors import Array

MAGIKA = Path(__file__).parents[1] / ".cache" / "models" / "magika-standard-v3-3" / "model.onnx"
# Rows that were merged are summed in another order.
_RELATIVE_ERROR, _ABSOLUTE_ERROR = 1e-3, 1e-5


@dataclass(frozen=True)
class Model:
    """One input and one output. `row`: the input of a request, of one row."""

    name: str
    file: Path
    input: str
    output: str
    row: Array
    answer: Array

    def request(self) -> bytes:
        message = pb.ModelInferRequest(model_name="m", raw_input_contents=[self.row.tobytes()])
        message.inputs.add(name=self.input, datatype=self.datatype, shape=self.row.shape)
        return bytes(message.SerializeToString())

    @property
    def datatype(self) -> str:
        return {"float32": "FP32", "int32": "INT32"}[self.row.dtype.name]

    def check(self, answer: bytes) -> None:
        """Raises LoadError where the message is not the answer to the request."""
        message = pb.ModelInferResponse.FromString(answer)
        if len(message.outputs) != 1 or message.outputs[0].name != self.output:
            raise LoadError(f"an answer with other outputs than {self.output!r}: {str(message)[:300]}")
        [output] = message.outputs
        if message.raw_output_contents:
            got = np.frombuffer(message.raw_output_contents[0], np.float32)
        else:
            got = np.array(output.contents.fp32_contents, np.float32)
        wanted = self.answer.ravel()
        if got.size != wanted.size or not np.allclose(got, wanted, _RELATIVE_ERROR, _ABSOLUTE_ERROR):
            raise LoadError(f"a wrong answer: {got[:8]}, not {wanted[:8]}")


Write = Callable[[Path, int], Array]  # an ONNX file with so many layers; returns an input for it


def write_tiny(file: Path, _layers: int) -> Array:
    """A multiplication of four numbers: nothing but the way there and back."""
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    write_onnx(file, nodes, (["b", 4], ["b", 4]), {"two": np.array([2], np.float32)})
    return random_row(4)


def write_wide(file: Path, layers: int) -> Array:
    """Dense layers of 1024 by 1024, as models that rank have them: for one row, memory is what takes the time."""
    random, width = np.random.default_rng(1), 1024
    weights = {f"w{index}": random.normal(0, 0.04, (width, width)).astype(np.float32) for index in range(layers)}
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["m0"])]
    for index in range(1, layers):
        nodes += [
            helper.make_node("Relu", [f"m{index - 1}"], [f"h{index}"]),
            helper.make_node("MatMul", [f"h{index}", f"w{index}"], [f"m{index}"]),
        ]
    nodes.append(helper.make_node("Softmax", [f"m{layers - 1}"], ["y"]))
    write_onnx(file, nodes, (["b", width], ["b", width]), weights)
    return random_row(width)


def write_image(file: Path, layers: int) -> Array:
    """Convolutions over 600 KB: three channels of 224 by 224."""
    random = np.random.default_rng(1)
    weights = {"w0": random.normal(0, 0.2, (32, 3, 3, 3)).astype(np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w0"], ["h0"], strides=[2, 2], pads=[1, 1, 1, 1])]
    for index in range(1, layers + 1):
        weights[f"w{index}"] = random.normal(0, 0.08, (32, 32, 3, 3)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [f"h{index - 1}", f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{index}"], [f"h{index}"]),
        ]
    nodes.append(helper.make_node("ReduceMean", [f"h{layers}"], ["y"], axes=[2, 3], keepdims=0))
    write_onnx(file, nodes, (["b", 3, 224, 224], ["b", 32]), weights)
    return random_row(3, 224, 224)


def random_row(*shape: int) -> Array:
    return np.random.default_rng(0).random((1, *shape), np.float32)


def write_onnx(file: Path, nodes: list[Any], shapes: tuple[Any, Any], weights: dict[str, Any]) -> None:
    (x_shape, y_shape), kind = shapes, TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", kind, x_shape)],
        [helper.make_tensor_value_info("y", kind, y_shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())


def make_tiny(folder: Path) -> Model:
    return sized("tiny", write_tiny, folder / "tiny.onnx", 0)


def make_magika(_folder: Path) -> Model:
    """Google's, which tells what kind of content a file holds: a small convolutional network over 2,048 bytes."""
    if not MAGIKA.is_file():
        raise SystemExit("the model of the middle is not here: scripts/setup gets it")
    row = np.random.default_rng(0).integers(0, 256, (1, 2048)).astype(np.int32)
    return describe("middle", MAGIKA, row)


def make_wide(folder: Path) -> Model:
    return sized("wide", write_wide, folder / "wide.onnx", 6.5)


def make_image(folder: Path) -> Model:
    return sized("image", write_image, folder / "image.onnx", 21)


MAKERS: dict[str, Callable[[Path], Model]] = {
    "tiny": make_tiny,
    "middle": make_magika,
    "wide": make_wide,
    "image": make_image,
}


def sized(name: str, write: Write, file: Path, least_ms: float) -> Model:
    """The model with as many layers as take so long on one thread here."""
    layers = 1
    while True:
        row = write(file, layers)
        session = bare_session(file, 1)
        # The fastest of some: what else runs here makes the others slower.
        if min(_seconds_of(session, {"x": row}) for _ in range(15)) * 1e3 >= least_ms:
            return describe(name, file, row)
        layers += max(1, layers // 4)


def describe(name: str, file: Path, row: Array) -> Model:
    session = bare_session(file, 1)
    [input_], [output] = session.get_inputs(), session.get_outputs()
    [answer] = session.run([output.name], {input_.name: row})
    return Model(name, file, input_.name, output.name, row, answer)


def _seconds_of(session: Any, feed: dict[str, Any]) -> float:
    start = time.perf_counter()
    session.run(None, feed)
    return time.perf_counter() - start


def bare_session(file: Path, threads: int) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, as the server does
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
