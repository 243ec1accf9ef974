"""What a file that cannot be served looks like, and what its owner can do. Pure."""

from collections.abc import Collection

HEAD_BYTES = 512
GZIP_TAG, BZIP2_TAG, XZ_TAG = b"\x1f\x8b", b"BZh", b"\xfd7zXZ"
_ZIP_TAGS = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_TAG, _TAR_TAG_OFFSET = b"ustar", 257

_EXPORT_PYTORCH = 'export it to ONNX first: torch.onnx.export(model, example_inputs, "model.onnx")'
_EXPORT_KERAS = "export it to ONNX first (tf2onnx.convert.from_keras(model)), or as a SavedModel (model.export(folder))"
_SERVED = "only ONNX files, TensorFlow SavedModels and TensorRT plans can be served"
_OTHER_ARCHIVE = "pack the model's folder as .zip or .tar.gz instead"

# (offset, bytes there, what it is)
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", f"a PDF document; {_SERVED}"),
    (0, b"\x89PNG", f"a PNG image; {_SERVED}"),
    (0, b"\xff\xd8\xff", f"a JPEG image; {_SERVED}"),
    (0, b"\x7fELF", f"a program or shared library; {_SERVED}"),
    (0, b"\x28\xb5\x2f\xfd", f"a zstd archive; {_OTHER_ARCHIVE}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {_OTHER_ARCHIVE}"),
    (0, b"Rar!", f"a RAR archive; {_OTHER_ARCHIVE}"),
    (0, b"\x89HDF", f"an HDF5 file, such as Keras writes; {_EXPORT_KERAS}"),
    (4, b"TFL3", "a TensorFlow Lite model; export the original model to ONNX instead"),
    (4, b"ORTM", "an onnxruntime .ort file; register the .onnx file that it was made from"),
    (0, b"GGUF", f"a GGUF file of language-model weights; {_SERVED}"),
    (0, b"\x93NUMPY", f"a NumPy array; {_SERVED}"),
    (8, b'{"', f"a safetensors file: weights without the model; {_EXPORT_PYTORCH}"),
)


def describe_file(head: bytes) -> str:
    """What the first HEAD_BYTES of a file show it to be, with advice; "" where they show nothing."""
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"a Python pickle, as older PyTorch and scikit-learn write; code is never loaded here; {_EXPORT_PYTORCH}"
    if head[3:6] == b'\0{"':
        metadata_bytes = 4 + int.from_bytes(head[:4], "little")
        return (
            "a TensorRT engine as Ultralytics writes it, with metadata before the plan; register what follows the "
            f"first {metadata_bytes} bytes: tail -c +{metadata_bytes + 1} model.engine > model.plan"
        )
    return f"text; {_SERVED}" if _is_text(head) else ""


def describe_members(paths: Collection[str]) -> str:
    """What an archive with files of these paths is, with advice; "" where they show nothing."""
    names = {path.rpartition("/")[2] for path in paths}
    if "saved_model.pb" in names or any(name.endswith(".onnx") for name in names):
        return ""
    if "data.pkl" in names:
        return f"a PyTorch file (a zip with a pickle inside); code is never loaded here; {_EXPORT_PYTORCH}"
    if {"storages", "tensors"} <= names:
        return (
            f"a PyTorch file of an old kind (a tar with pickles inside); code is never loaded here; {_EXPORT_PYTORCH}"
        )
    if "model.weights.h5" in names:
        return f"a Keras file; {_EXPORT_KERAS}"
    if "saved_model.pbtxt" in names:
        return "a SavedModel in text form; save it again in its binary form, as tf.saved_model.save does"
    return ""


def is_archive(head: bytes) -> bool:
    """Whether it is one that is unpacked here."""
    is_tar = head[_TAR_TAG_OFFSET : _TAR_TAG_OFFSET + len(_TAR_TAG)] == _TAR_TAG
    return is_tar or is_zip(head) or head.startswith((GZIP_TAG, BZIP2_TAG, XZ_TAG))


def is_zip(head: bytes) -> bool:
    return head.startswith(_ZIP_TAGS)


def starts_like_onnx(head: bytes | memoryview) -> bool:
    """An IR version below 128, then one of the fields that follow it in a ModelProto."""
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 128 and head[2] in b"\x12\x1a\x22\x28\x32\x3a\x42"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode() if error.start > len(head) - 4 else ""
    return bool(text) and all(character.isprintable() or character in "\t\r\n\f" for character in text)
