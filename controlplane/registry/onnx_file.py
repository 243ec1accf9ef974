"""From a file that should be an ONNX model to its signature, or to a sentence that says why not."""

import mmap
import zipfile
from pathlib import Path
from typing import Any

import onnx
import onnx.checker
from google.protobuf.message import DecodeError

from controlplane.domain import Signature
from controlplane.registry.file_kinds import HEAD_BYTES, describe_file, describe_zip, is_zip, starts_like_onnx
from controlplane.registry.onnx_signature import compute_signature, refuse_external_data
from controlplane.registry.onnx_skeleton import CutOffError, WireError, compute_skeleton
from modelyard.errors import InvalidArgumentError


def read_signature(path: Path) -> Signature:
    """InvalidArgumentError where the file cannot be served as it is. Reads little more than the model's structure."""
    if path.stat().st_size == 0:
        raise InvalidArgumentError("the file is empty; export the model again and register that file")
    with path.open("rb") as file:
        # Closed when nothing refers to it: an error's traceback may hold views of it longer than this function runs.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    head = mapped[:HEAD_BYTES]
    _refuse_other_kinds(path, head)
    model = _parse(memoryview(mapped), starts_like_onnx(head))
    _refuse_incomplete(model)
    refuse_external_data(model)
    signature = compute_signature(model.graph)
    _run_checker(model)
    return signature


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    kind = _describe_zip_file(path) if is_zip(head) else describe_file(head)
    if kind and not starts_like_onnx(head):
        raise InvalidArgumentError(f"the file is not an ONNX model; it looks like {kind}")


def _describe_zip_file(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return describe_zip(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "a zip archive that is cut off or damaged; copy it again, and register the .onnx file inside"


def _parse(view: memoryview, starts_like_onnx: bool) -> Any:
    """The ModelProto without its large tensors."""
    try:
        return onnx.ModelProto.FromString(compute_skeleton(view))
    except (WireError, DecodeError) as error:
        if not starts_like_onnx:
            raise InvalidArgumentError(
                "the file is not an ONNX model, nor anything else that is known here; register an .onnx file"
            ) from error
        if isinstance(error, CutOffError):
            raise InvalidArgumentError(
                f"the ONNX file is cut off: {error.missing_bytes} or more bytes are missing at its end; copy it again"
            ) from error
        if isinstance(error, WireError):
            raise InvalidArgumentError("the ONNX file is damaged; copy or export it again") from error
        # protobuf says the same of both.
        raise InvalidArgumentError(
            "the ONNX file is damaged, or takes more memory than a model's structure needs; copy or export it again"
        ) from error


def _refuse_incomplete(model: Any) -> None:
    if not model.HasField("graph") or not model.ir_version:
        raise InvalidArgumentError(
            "the file is not an ONNX model: it has no graph (a saved_model.pb is a part of a TensorFlow SavedModel, "
            "which is not supported yet); register an .onnx file"
        )
    if not model.opset_import:
        raise InvalidArgumentError(
            "the ONNX file does not say which operators it uses (opset_import): it is cut off or was made wrongly; "
            "copy or export it again"
        )


def _run_checker(model: Any) -> None:
    """InvalidArgumentError with the first line of what onnx.checker has against the model."""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().partition("\n")[0]
        raise InvalidArgumentError(
            f"onnx.checker refuses the model: {reason[:300]} (mend the export; onnx.checker.check_model shows the same)"
        ) from error
