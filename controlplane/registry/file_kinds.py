"""What a file that cannot be served looks like, and what its owner can do. Pure."""

from collections.abc import Sequence

HEAD_BYTES = 512

_EXPORT_PYTORCH = 'export it to ONNX first: torch.onnx.export(model, example_inputs, "model.onnx")'
_ONNX_ONLY = "only ONNX files can be served so far"

# (offset, bytes there, what it is)
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", f"a PDF document; {_ONNX_ONLY}"),
    (0, b"\x89PNG", f"a PNG image; {_ONNX_ONLY}"),
    (0, b"\xff\xd8\xff", f"a JPEG image; {_ONNX_ONLY}"),
    (0, b"\x7fELF", f"a program or shared library; {_ONNX_ONLY}"),
    (0, b"\x1f\x8b", "a gzip archive; unpack it and register the .onnx file inside"),
    (0, b"BZh", "a bzip2 archive; unpack it and register the .onnx file inside"),
    (0, b"\xfd7zXZ", "an xz archive; unpack it and register the .onnx file inside"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it and register the .onnx file inside"),
    (257, b"ustar", "a tar archive; unpack it and register the .onnx file inside"),
    (0, b"\x89HDF", "an HDF5 file, such as Keras writes; export it to ONNX first: tf2onnx.convert.from_keras(model)"),
    (4, b"TFL3", "a TensorFlow Lite model; export the original model to ONNX instead"),
    (4, b"ORTM", "an onnxruntime .ort file; register the .onnx file that it was made from"),
    (0, b"ptrt", f"a TensorRT plan; those are not supported yet, {_ONNX_ONLY}"),
    (0, b"ftrt", f"a TensorRT plan; those are not supported yet, {_ONNX_ONLY}"),
    (0, b"GGUF", f"a GGUF file of language-model weights; {_ONNX_ONLY}"),
    (0, b"\x93NUMPY", f"a NumPy array; {_ONNX_ONLY}"),
    (8, b'{"', f"a safetensors file: weights without the model; {_EXPORT_PYTORCH}"),
)


def describe_file(head: bytes) -> str:
    """What the first HEAD_BYTES of a file show it to be, with advice; "" where they show nothing."""
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"a Python pickle, as older PyTorch and scikit-learn write; code is never loaded here; {_EXPORT_PYTORCH}"
    return f"text; {_ONNX_ONLY}" if _is_text(head) else ""


def describe_zip(members: Sequence[str]) -> str:
    """What a zip archive with these member names is, with advice."""
    last_parts = {name.rpartition("/")[2] for name in members}
    if "data.pkl" in last_parts:
        return f"a PyTorch file (a zip with a pickle inside); code is never loaded here; {_EXPORT_PYTORCH}"
    if "saved_model.pb" in last_parts:
        return f"a zipped TensorFlow SavedModel; those are not supported yet, {_ONNX_ONLY}"
    if "model.weights.h5" in last_parts:
        return "a Keras file; export it to ONNX first: tf2onnx.convert.from_keras(model)"
    if any(name.endswith(".onnx") for name in members):
        return "a zip archive; unpack it and register the .onnx file inside"
    return f"a zip archive; {_ONNX_ONLY}"


def is_zip(head: bytes) -> bool:
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def starts_like_onnx(head: bytes) -> bool:
    """An IR version below 128, then one of the fields that follow it in a ModelProto."""
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 128 and head[2] in b"\x12\x1a\x22\x28\x32\x3a\x42"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode() if error.start > len(head) - 4 else ""
    return bool(text) and all(character.isprintable() or character in "\t\r\n\f" for character in text)
