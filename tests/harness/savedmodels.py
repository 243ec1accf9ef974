"""The SavedModels of tests/data, and what TensorFlow itself answered."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelyard.tensors import Array

FOLDER = Path(__file__).parent.parent / "data" / "savedmodels"
SERVABLE = ("cnn", "lstm", "two_in_two_out", "multi_signature", "same_keys", "counting")


@dataclass(frozen=True)
class Reference:
    inputs: dict[str, Array]
    outputs: dict[str, Array]


def savedmodel(name: str) -> Path:
    return FOLDER / name


def load_reference(name: str) -> Reference:
    arrays = np.load(FOLDER / f"{name}.npz")

    def side(prefix: str) -> dict[str, Array]:
        return {key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)}

    return Reference(side("in/"), side("out/"))
