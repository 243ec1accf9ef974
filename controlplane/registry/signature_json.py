"""A model's signature as JSON: in the database, in the lineage store, and from the process that inspects files."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from controlplane.domain import Signature, TensorSpec


def signature_to_json(signature: Signature) -> dict[str, Any]:
    return asdict(signature)


def signature_from_json(value: Mapping[str, Any]) -> Signature:
    def specs(side: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(spec["name"], spec["datatype"], tuple(spec["shape"])) for spec in value[side])

    return Signature(inputs=specs("inputs"), outputs=specs("outputs"))
