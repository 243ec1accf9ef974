"""The limits of what may be said of a file."""

from dataclasses import replace

import pytest

from controlplane.registry.announcement import Announcement, check_announcement
from modelyard.errors import InvalidArgumentError, ResourceExhaustedError

GOOD = Announcement(
    model="resnet",
    size_bytes=100,
    sha256="0" * 64,
    description="line 1\nline 2",
    user="ann",
    metrics={"top1": 0.76, "μ": -1e300},
    parameters={"lr": ""},
    tags={"a b": "x\ty"},
)


def test_a_good_one_passes() -> None:
    check_announcement(GOOD, max_model_bytes=100)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": "../etc"}, "cannot be the name of a model"),
        ({"size_bytes": 0}, "1 or more"),
        ({"size_bytes": -5}, "1 or more"),
        ({"description": "x" * 20_001}, "the description has 20001 characters; 20000 is the most"),
        ({"user": "x" * 201}, "the user has 201"),
        ({"user": "a\0b"}, "null character"),
        ({"metrics": {"loss": float("nan")}}, "'loss' is nan"),
        ({"metrics": {"loss": float("-inf")}}, "'loss' is -inf"),
        ({"metrics": {str(n): 0.0 for n in range(201)}}, "201 metrics; 200 is the most"),
        ({"tags": {"": "x"}}, "tags: '' cannot be a key"),
        ({"tags": {"a\n": "x"}}, "printable"),
        ({"tags": {"k": "x" * 2001}}, "tags: the value of 'k' has 2001"),
        ({"parameters": {"k" * 101: "x"}}, "1 to 100 printable"),
    ],
)
def test_a_bad_one_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        check_announcement(replace(GOOD, **change), max_model_bytes=100)  # type: ignore[arg-type]


def test_a_large_file_is_refused_with_the_setting() -> None:
    with pytest.raises(ResourceExhaustedError, match="101 bytes.*100 at most.*--max-model-bytes"):  # noqa: RUF043
        check_announcement(replace(GOOD, size_bytes=101), max_model_bytes=100)
