"""What `modelyard infer` keeps of an answer."""

from pathlib import Path

import numpy as np
import pytest

from modelyard.cli import infer
from modelyard.errors import FailedPreconditionError


@pytest.mark.parametrize("elements", [[b"a", b"long"], [b"a\0", b"\0\0", b""], [b"\xff\0b"]])
def test_bytes_come_back_from_the_file_as_they_were(tmp_path: Path, elements: list[bytes]) -> None:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    infer._save({"scores/labels": array}, tmp_path / "out")
    saved = np.load(tmp_path / "out" / "scores_labels.npy", allow_pickle=True)
    assert saved.tolist() == elements
    assert saved.dtype.hasobject == any(element.endswith(b"\0") for element in elements)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FailedPreconditionError, match=r"cannot write to .*/file/out"):
        infer._save({"y": np.zeros(1)}, tmp_path / "file" / "out")
