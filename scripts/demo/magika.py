"""What Magika's model takes and what its answer means, as its own configuration file says.

The input is the first and the last bytes of the content, without the white space around it. Where the answer is less
probable than the model's threshold for it, only text or not text is told.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Answer(NamedTuple):
    label: str
    probability: float


class Magika:
    """`folder` holds config.min.json and content_types_kb.min.json of one version of the model."""

    def __init__(self, folder: Path) -> None:
        self._config: dict[str, Any] = json.loads((folder / "config.min.json").read_text())
        kinds = json.loads((folder / "content_types_kb.min.json").read_text())
        self._is_text = {label: bool(kind["is_text"]) for label, kind in kinds.items()}

    def make_input(self, file: BinaryIO) -> NDArray[np.int32] | str:
        """int32[1, beg_size + end_size] for the model; the label itself where there is too little to ask for."""
        size = file.seek(0, 2)
        block = min(size, self._config["block_size"])
        file.seek(0)
        first = file.read(block)
        file.seek(size - block)
        last = file.read(block)
        if not size:
            return "empty"
        if len(first.lstrip()) < self._config["min_file_size_for_dl"]:
            return "txt" if _is_utf8(first) else "unknown"
        features = np.full((1, self._begin + self._end), self._config["padding_token"], np.int32)
        head, tail = first.lstrip()[: self._begin], last.rstrip()[-self._end :]
        features[0, : len(head)] = np.frombuffer(head, np.uint8)
        features[0, features.size - len(tail) :] = np.frombuffer(tail, np.uint8)
        return features

    def read_answer(self, probabilities: NDArray[np.float32]) -> Answer:
        """`probabilities`: one row of the model's output."""
        best = int(probabilities.argmax())
        label, probability = self._config["target_labels_space"][best], float(probabilities[best])
        threshold = self._config["thresholds"].get(label, self._config["medium_confidence_threshold"])
        told = self._config["overwrite_map"].get(label, label)
        if probability < threshold:
            told = "txt" if self._is_text[told] else "unknown"
        return Answer(told, probability)

    @property
    def _begin(self) -> int:
        return int(self._config["beg_size"])

    @property
    def _end(self) -> int:
        return int(self._config["end_size"])


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
