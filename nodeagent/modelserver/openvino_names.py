"""Which inputs and outputs of what OpenVINO makes of a SavedModel are those of the served signature."""

from collections.abc import Sequence

from modelyard.errors import InvalidArgumentError


def find_inputs(keys: Sequence[str], names: Sequence[str]) -> list[int]:
    """For each key of the signature the position of its input in `names`, OpenVINO's names of the inputs."""
    if missing := [key for key in keys if key not in names]:
        raise InvalidArgumentError(_missing("an input", missing[0], names))
    return [names.index(key) for key in keys]


def find_outputs(keys: Sequence[str], input_keys: Sequence[str], names: Sequence[str]) -> list[int]:
    """The same of the outputs. OpenVINO appends "_1" to the name of an output that an input has already."""
    return [_find_output(key, keys, input_keys, names) for key in keys]


def _find_output(key: str, keys: Sequence[str], input_keys: Sequence[str], names: Sequence[str]) -> int:
    wanted = key
    if key in input_keys and key not in names:
        wanted = f"{key}_1"
        if wanted in keys:
            raise InvalidArgumentError(
                f"OpenVINO cannot tell the outputs {key!r} and {wanted!r} from the input {key!r}: "
                "export the model with names of their own for its outputs"
            )
    if wanted not in names:
        raise InvalidArgumentError(_missing("an output", key, names))
    return names.index(wanted)


def _missing(kind: str, key: str, names: Sequence[str]) -> str:
    there = ", ".join(map(repr, names)) or "none"
    return (
        f"OpenVINO finds no {kind.removeprefix('an ')} {key!r} in it, only {there}: "
        "export the model with a signature whose outputs are computed from its inputs"
    )
