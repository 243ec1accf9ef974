"""A SavedModel's saved_model.pb and folder put together by hand: good ones, and bad ones in one respect."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from modelyard.varint import encode_varint

FLOAT, STRING, INT64, COMPLEX64, FLOAT_REFERENCE = 1, 7, 9, 8, 101
Shape = Sequence[int] | None
Tensors = Mapping[str, tuple[int, Shape]]  # TensorFlow's number of the type, and the shape; None: unknown rank

X: Tensors = {"x": (FLOAT, (-1, 3))}
Y: Tensors = {"y": (FLOAT, (-1, 2))}


def field(number: int, value: int | str | bytes) -> bytes:
    """Of a protobuf message: a varint, a text or bytes, or a message inside it."""
    if isinstance(value, int):
        return encode_varint(number << 3) + encode_varint(value % (1 << 64))
    content = value.encode() if isinstance(value, str) else value
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def tensor_info(dtype: int, shape: Shape) -> bytes:
    dims = field(3, 1) if shape is None else b"".join(field(2, field(1, size)) for size in shape)
    return field(1, "name:0") + field(2, dtype) + field(3, dims)


def signature(inputs: Tensors = X, outputs: Tensors = Y) -> bytes:
    sides = ((1, inputs), (2, outputs))
    return b"".join(
        field(number, field(1, key) + field(2, tensor_info(*tensor)))
        for number, tensors in sides
        for key, tensor in tensors.items()
    )


def meta_graph(
    signatures: Mapping[str, bytes] | None = None,
    tags: Sequence[str] = ("serve",),
    ops: Sequence[str] = ("Placeholder",),
    function_ops: Sequence[str] = (),
) -> bytes:
    wanted = {"serving_default": signature()} if signatures is None else signatures
    info = b"".join(field(4, tag) for tag in tags) + field(5, "2.21.0")
    nodes = b"".join(field(1, field(1, f"n{index}") + field(2, op)) for index, op in enumerate(ops))
    library = field(2, field(1, b"".join(field(3, field(2, op)) for op in function_ops)))
    entries = b"".join(field(5, field(1, key) + field(2, value)) for key, value in wanted.items())
    return field(1, info) + field(2, nodes + library) + entries


def saved_model(*graphs: bytes) -> bytes:
    return field(1, 1) + b"".join(field(2, graph) for graph in graphs or (meta_graph(),))


def write_saved_model(folder: Path, content: bytes | None = None) -> Path:
    """With variables."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content or saved_model(meta_graph(ops=["VarHandleOp"])))
    (folder / "variables/variables.index").write_bytes(b"index")
    (folder / "variables/variables.data-00000-of-00001").write_bytes(b"data" * 100)
    return folder
