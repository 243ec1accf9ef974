"""A TensorFlow SavedModel without TensorFlow: what saved_model.pb says of its signatures, tags and variables.

The file is walked field by field, so a graph with large constants in it costs next to nothing. Field numbers:
saved_model.proto, meta_graph.proto, graph.proto and function.proto of tensorflow/core.
"""

from collections.abc import Iterator
from typing import NamedTuple

from controlplane.registry.formats.protobuf_wire import (
    BYTES,
    VARINT,
    CutOffError,
    Field,
    WireError,
    read_fields,
    read_varint,
)

_SCHEMA_VERSION, _META_GRAPHS = 1, 2
_META_INFO, _GRAPH, _SIGNATURES = 1, 2, 5
_TAGS, _TENSORFLOW_VERSION = 4, 5
_NODES, _LIBRARY = 1, 2
_FUNCTIONS, _FUNCTION_NODES = 1, 3
_NODE_OP = 2
_KEY, _VALUE = 1, 2
_INPUTS, _OUTPUTS = 1, 2
_DTYPE, _SHAPE, _COO_SPARSE, _COMPOSITE = 2, 3, 4, 5
_DIM, _UNKNOWN_RANK, _DIM_SIZE = 2, 3, 1
_VARIABLE_OPS = {b"VarHandleOp", b"VariableV2", b"Variable"}


class RawTensor(NamedTuple):
    """`dtype`: TensorFlow's number of it; `shape`: None where not even the number of dimensions is known."""

    dtype: int
    shape: tuple[int, ...] | None
    is_sparse: bool


class RawSignature(NamedTuple):
    inputs: dict[str, RawTensor]
    outputs: dict[str, RawTensor]


class MetaGraph(NamedTuple):
    tags: tuple[str, ...]
    tensorflow_version: str
    signatures: dict[str, RawSignature]
    has_variables: bool


class Message:
    """A part of the file that is a message."""

    def __init__(self, view: memoryview, start: int, end: int) -> None:
        self._view, self._start, self._end = view, start, end

    def fields(self) -> Iterator[Field]:
        return read_fields(self._view, self._start, self._end)

    def messages(self, number: int) -> Iterator["Message"]:
        for field in self.fields():
            if field.number == number and field.wire_type == BYTES:
                yield Message(self._view, field.body, field.end)

    def blobs(self, number: int) -> Iterator[bytes]:
        for field in self.fields():
            if field.number == number and field.wire_type == BYTES:
                yield bytes(self._view[field.body : field.end])

    def text(self, number: int) -> str:
        """ "" where there is none. The last one counts, as protobuf has it."""
        return _decode(list(self.blobs(number))[-1:])

    def number(self, number: int) -> int:
        """A signed one; 0 where there is none."""
        value = 0
        for field in self.fields():
            if field.number == number and field.wire_type == VARINT:
                value = read_varint(self._view, field.body, field.end)[0]
        return value - (1 << 64) if value >= 1 << 63 else value

    def entries(self, number: int) -> Iterator[tuple[str, "Message"]]:
        """Of a map from texts to messages."""
        for entry in self.messages(number):
            yield entry.text(_KEY), next(reversed(list(entry.messages(_VALUE))), Message(self._view, 0, 0))


def is_saved_model(view: memoryview) -> bool:
    """Whether this can be a saved_model.pb, and no ONNX model: its first meta graph has a text, a tag, in its place."""
    try:
        root = Message(view, 0, len(view))
        return root.number(_SCHEMA_VERSION) == 1 and any(
            tag
            for graph in root.messages(_META_GRAPHS)
            for info in graph.messages(_META_INFO)
            for tag in info.blobs(_TAGS)
        )
    except WireError:
        return False


def read_meta_graphs(view: memoryview) -> list[MetaGraph]:
    """CutOffError where the file ends too soon, WireError where it is no such file."""
    root = Message(view, 0, len(view))
    for _ in root.fields():
        pass  # a cut shows here: inside a message that is whole it would be damage
    try:
        return [_read_meta_graph(graph) for graph in root.messages(_META_GRAPHS)]
    except CutOffError as error:
        raise WireError("a field reaches beyond its message") from error


def _read_meta_graph(graph: Message) -> MetaGraph:
    infos = list(graph.messages(_META_INFO))
    return MetaGraph(
        tags=tuple(_decode([tag]) for info in infos for tag in info.blobs(_TAGS)),
        tensorflow_version=infos[-1].text(_TENSORFLOW_VERSION) if infos else "",
        signatures={key: _read_signature(signature) for key, signature in graph.entries(_SIGNATURES)},
        has_variables=any(op in _VARIABLE_OPS for op in _ops(graph)),
    )


def _read_signature(signature: Message) -> RawSignature:
    inputs, outputs = (
        {key: _read_tensor(tensor) for key, tensor in signature.entries(side)} for side in (_INPUTS, _OUTPUTS)
    )
    return RawSignature(inputs, outputs)


def _read_tensor(tensor: Message) -> RawTensor:
    shapes = list(tensor.messages(_SHAPE))
    is_unknown = not shapes or any(shape.number(_UNKNOWN_RANK) for shape in shapes)
    dims = tuple(max(dim.number(_DIM_SIZE), -1) for shape in shapes for dim in shape.messages(_DIM))
    is_sparse = any(field.number in (_COO_SPARSE, _COMPOSITE) for field in tensor.fields())
    return RawTensor(tensor.number(_DTYPE), None if is_unknown else dims, is_sparse)


def _ops(meta_graph: Message) -> Iterator[bytes]:
    for graph in meta_graph.messages(_GRAPH):
        for node in graph.messages(_NODES):
            yield from node.blobs(_NODE_OP)
        for library in graph.messages(_LIBRARY):
            for function in library.messages(_FUNCTIONS):
                for node in function.messages(_FUNCTION_NODES):
                    yield from node.blobs(_NODE_OP)


def _decode(blobs: list[bytes]) -> str:
    try:
        return b"".join(blobs).decode()
    except UnicodeDecodeError as error:
        raise WireError("a name is no text") from error
