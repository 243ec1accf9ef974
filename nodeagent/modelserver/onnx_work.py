"""Whether how long a model computes follows from the shapes of its inputs: read off its file, operator by operator."""

from collections.abc import Iterator
from pathlib import Path

from nodeagent.modelserver.wire import LENGTH_DELIMITED, read_varint

_MOST_BYTES = 64 << 20  # what is larger is not quick anyway
_VARINT, _FIXED64, _FIXED32 = 0, 1, 5
# Fields of onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_GRAPH, _FUNCTIONS, _NODE, _OP_TYPE = 7, 25, 1, 4

# Operators that do the same work whatever the values are. Left out are loops and branches, and all whose output is as
# large as a value says.
_NAMES = """
Abs Add And ArgMax ArgMin ArrayFeatureExtractor AveragePool BatchNormalization Binarizer Cast Ceil Clip Concat
Constant Conv ConvTranspose Cos DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp
FeatureVectorizer Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid
HardSwish Identity Imputer InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual LinearClassifier
LinearRegressor Log LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mul Neg Normalizer Not Or PRelu Pow
QLinearConv QLinearMatMul QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Round
SVMClassifier SVMRegressor Scaler Selu Shape Sigmoid Sign Sin Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh
TopK Transpose TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor Unsqueeze Where Xor ZipMap
"""
_STEADY = frozenset(_NAMES.split())


def has_steady_work(file: Path) -> bool:
    """Of an ONNX file; False as well where it cannot be told. Raises OSError."""
    if file.stat().st_size > _MOST_BYTES:
        return False
    try:
        return _is_steady(file.read_bytes())
    except (IndexError, ValueError):
        return False


def _is_steady(model: bytes) -> bool:
    for field, part in _fields(memoryview(model)):
        if field == _FUNCTIONS:
            return False  # nodes of another kind of graph
        if field == _GRAPH and not all(_is_steady_node(node) for number, node in _fields(part) if number == _NODE):
            return False
    return True


def _is_steady_node(node: memoryview) -> bool:
    return all(bytes(part).decode("ascii", "replace") in _STEADY for field, part in _fields(node) if field == _OP_TYPE)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have a length. Raises IndexError and ValueError where it is none."""
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            while message[position] & 0x80:
                position += 1
            position += 1
        elif kind == LENGTH_DELIMITED:
            length, position = read_varint(message, position)
            if position + length > len(message):
                raise ValueError("a field reaches beyond its message")
            yield tag >> 3, message[position : position + length]
            position += length
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"there is no wire type {kind}")
