"""The sample that a yard keeps of a version: one set of inputs to try it with."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from modelyard.cli.aliases import find_alias_version
from modelyard.cli.controller import Controller, get_version
from modelyard.cli.download import read_small
from modelyard.errors import FailedPreconditionError

if TYPE_CHECKING:
    from modelyard._target import Target


def load_sample(controller: str, target: Target) -> dict[str, Any]:
    """An array for each input. FailedPreconditionError where the version that is asked has none."""
    import numpy as np

    with Controller(controller) as yard:
        found = get_version(yard, target.model, _find_number(yard, target))
        if not found.HasField("sample"):
            raise FailedPreconditionError(f"{found.model_id} has no sample: give its inputs with --input")
        content = read_small(yard, found.sample.sha256, "its sample")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def _find_number(yard: Controller, target: Target) -> int:
    alias = target.version or "production"
    if alias.isdigit():
        return int(alias)
    number = find_alias_version(yard, target.model, alias)
    if not number:
        raise FailedPreconditionError(
            f"{target.model} has no alias {alias!r}: modelyard alias set {target.model} {alias} NUMBER"
        )
    return number
