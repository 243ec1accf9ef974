"""The demo's own reading of files for Magika's model."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from scripts.demo.magika import Magika


@pytest.fixture
def magika(tmp_path: Path) -> Magika:
    config = {
        "beg_size": 6,
        "end_size": 4,
        "block_size": 16,
        "padding_token": 256,
        "min_file_size_for_dl": 3,
        "medium_confidence_threshold": 0.5,
        "target_labels_space": ["python", "elf", "markdown", "randomtxt"],
        "thresholds": {"markdown": 0.75},
        "overwrite_map": {"randomtxt": "txt"},
    }
    kinds = {label: {"is_text": label != "elf"} for label in ["python", "elf", "markdown", "txt"]}
    (tmp_path / "config.min.json").write_text(json.dumps(config))
    (tmp_path / "content_types_kb.min.json").write_text(json.dumps(kinds))
    return Magika(tmp_path)


@pytest.mark.parametrize(
    ("content", "features"),
    [
        (b"abcdefghij", b"abcdef" + b"ghij"),
        (b"\n abc \n", [*b"abc \n", 256, *b" abc"]),
        (b"   " + b"x" * 30 + b"end  \n", b"xxxxxx" + b"xend"),
        (b"abc", [*b"abc", 256, 256, 256, 256, *b"abc"]),
    ],
)
def test_the_first_and_last_bytes_without_white_space_are_the_input(
    magika: Magika, content: bytes, features: list[int]
) -> None:
    made = magika.make_input(io.BytesIO(content))
    assert isinstance(made, np.ndarray) and made.dtype == np.int32
    assert made.tolist() == [list(features)]


@pytest.mark.parametrize(
    ("content", "label"), [(b"", "empty"), (b"ab", "txt"), (b"\xff", "unknown"), (b" " * 14 + b"a ", "txt")]
)
def test_too_little_content_needs_no_model(magika: Magika, content: bytes, label: str) -> None:
    assert magika.make_input(io.BytesIO(content)) == label


@pytest.mark.parametrize(
    ("probabilities", "label"),
    [
        ([0.9, 0.1, 0, 0], "python"),
        ([0.4, 0.3, 0.3, 0], "txt"),
        ([0.3, 0.4, 0.3, 0], "unknown"),
        ([0.2, 0.1, 0.7, 0], "txt"),
        ([0, 0, 0.1, 0.9], "txt"),
    ],
)
def test_an_improbable_answer_is_told_as_text_or_unknown(
    magika: Magika, probabilities: list[float], label: str
) -> None:
    answer = magika.read_answer(np.array(probabilities, np.float32))
    assert answer.label == label and answer.probability == pytest.approx(max(probabilities))
