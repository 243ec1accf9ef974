"""What a model takes and gives as JSON: in the database, in the lineage store, from the process that inspects files."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from controlplane.domain import (
    FormatDetails,
    ModelFormat,
    OnnxDetails,
    SavedModelDetails,
    Signature,
    TensorrtDetails,
    TensorSpec,
)

_DETAILS: dict[ModelFormat, TypeAdapter[Any]] = {
    ModelFormat.ONNX: TypeAdapter(OnnxDetails),
    ModelFormat.SAVEDMODEL: TypeAdapter(SavedModelDetails),
    ModelFormat.TENSORRT: TypeAdapter(TensorrtDetails),
}


def signature_to_json(signature: Signature) -> dict[str, Any]:
    return asdict(signature)


def signature_from_json(value: Mapping[str, Any]) -> Signature:
    def specs(side: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(spec["name"], spec["datatype"], tuple(spec["shape"])) for spec in value[side])

    return Signature(inputs=specs("inputs"), outputs=specs("outputs"))


def details_to_json(details: FormatDetails) -> dict[str, Any]:
    return asdict(details)


def details_from_json(format_: ModelFormat, value: Mapping[str, Any]) -> FormatDetails:
    details: FormatDetails = _DETAILS[format_].validate_python(value)
    return details
