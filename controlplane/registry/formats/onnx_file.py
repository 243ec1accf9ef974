"""From an ONNX file to what it takes and gives, or to a sentence that says why it cannot be served."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import onnx.checker
from google.protobuf.message import DecodeError

from controlplane.domain import OnnxDetails, Signature
from controlplane.registry.formats.file_kinds import HEAD_BYTES, starts_like_onnx
from controlplane.registry.formats.mapped_file import map_file
from controlplane.registry.formats.onnx_external_data import take_external_data
from controlplane.registry.formats.onnx_operators import opset_versions, refuse_missing_operators
from controlplane.registry.formats.onnx_signature import compute_signature
from controlplane.registry.formats.onnx_skeleton import compute_skeleton
from controlplane.registry.formats.onnx_text import to_text
from controlplane.registry.formats.protobuf_wire import BYTES, CutOffError, WireError, read_fields
from modelyard.errors import InvalidArgumentError

_GRAPH, _OPSET_IMPORT = (onnx.ModelProto.DESCRIPTOR.fields_by_name[name].number for name in ("graph", "opset_import"))


class OnnxModel(NamedTuple):
    signature: Signature
    details: OnnxDetails


def read_onnx(path: Path, beside: Mapping[str, int] | None = None) -> OnnxModel:
    """InvalidArgumentError where the file cannot be served as it is. Reads little more than the model's structure.

    `beside`: the files in its folder, by their paths there, and their sizes in bytes; None for a file that is alone.
    """
    view = memoryview(map_file(path))
    return _read(_parse(view, starts_like_onnx(view[:HEAD_BYTES])), beside)


def is_whole_onnx(path: Path) -> bool:
    """Whether its outermost fields are those of an ONNX model, from its first byte to its last."""
    view = memoryview(map_file(path))
    try:
        numbers = {field.number for field in read_fields(view, 0, len(view)) if field.wire_type == BYTES}
    except WireError:
        return False
    return numbers >= {_GRAPH, _OPSET_IMPORT}


def _read(model: Any, beside: Mapping[str, int] | None) -> OnnxModel:
    _refuse_incomplete(model)
    external_data_files = take_external_data(model, beside)
    refuse_missing_operators(model)
    signature = compute_signature(model.graph)
    _run_checker(model)
    details = OnnxDetails(
        ir_version=model.ir_version,
        opsets=opset_versions(model.opset_import),
        producer=to_text(model.producer_name),
        producer_version=to_text(model.producer_version),
        external_data_files=external_data_files,
    )
    return OnnxModel(signature, details)


def _parse(view: memoryview, starts_like_onnx: bool) -> Any:
    """The ModelProto without its large tensors."""
    try:
        return onnx.ModelProto.FromString(compute_skeleton(view))
    except (WireError, DecodeError) as error:
        if not starts_like_onnx:
            raise InvalidArgumentError(
                "the file is not a model, nor anything else that is known here; register an .onnx file, a TensorFlow "
                "SavedModel or a TensorRT plan"
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
            "the file is not an ONNX model: it has no graph; register an .onnx file, a TensorFlow SavedModel or a "
            "TensorRT plan"
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
    except UnicodeDecodeError as error:
        # It names what is wrong, and the name is no text.
        raise InvalidArgumentError("the ONNX file is damaged: a name in it is no text; export it again") from error
    except onnx.checker.ValidationError as error:
        line = str(error).strip().partition("\n")[0][:300]
        reason = "".join(character if character.isprintable() else "?" for character in line)
        raise InvalidArgumentError(
            f"onnx.checker refuses the model: {reason} (mend the export; onnx.checker.check_model shows the same)"
        ) from error
