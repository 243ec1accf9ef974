"""The limits of what may be said of a file."""

from dataclasses import replace

import pytest

from controlplane.domain import Origin, Source, VersionEdit
from controlplane.registry.announcement import Announcement, check_announcement, check_edit
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
    source=Source("0123abc", "run-7", "s3://data/set"),
    sample=b"x" * (16 << 20),
    gpu="NVIDIA A10",
    offset_bytes=100,
    origin=Origin("mlflow:models:/resnet/3", "eve"),
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
        ({"user": "a\0b"}, "control character"),
        ({"description": "\x1b[31mred"}, "control character"),
        ({"tags": {"a": "\x9b31mred"}}, "control character"),
        ({"metrics": {"loss": float("nan")}}, "'loss' is nan"),
        ({"metrics": {"loss": float("-inf")}}, "'loss' is -inf"),
        ({"metrics": {str(n): 0.0 for n in range(201)}}, "201 metrics; 200 is the most"),
        ({"tags": {"": "x"}}, "tags: '' cannot be a key"),
        ({"tags": {"a\n": "x"}}, "printable"),
        ({"tags": {"k": "x" * 2001}}, "tags: the value of 'k' has 2001"),
        ({"parameters": {"k" * 101: "x"}}, "1 to 100 printable"),
        ({"source": Source(git_commit="x" * 201)}, "the git commit has 201"),
        ({"source": Source(training_run="a\0")}, "the training run holds the control"),
        ({"source": Source(dataset_uri="x" * 2001)}, "the URI of the data set has 2001"),
        ({"gpu": "x" * 101}, "at most 100 printable"),
        ({"gpu": "NVIDIA\tA10"}, "cannot be a GPU's name"),
        ({"origin": Origin("x" * 2001)}, "imported from has 2001"),
        ({"origin": Origin("a", user="x" * 201)}, "imported from has 201"),
        ({"offset_bytes": -1}, "offset_bytes is -1"),
        ({"offset_bytes": 101}, "must lie in the file of 100"),
    ],
)
def test_a_bad_one_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        check_announcement(replace(GOOD, **change), max_model_bytes=100)  # type: ignore[arg-type]


def test_a_large_file_is_refused_with_the_setting() -> None:
    with pytest.raises(ResourceExhaustedError, match="101 bytes.*100 at most.*--max-model-bytes"):  # noqa: RUF043
        check_announcement(replace(GOOD, size_bytes=101), max_model_bytes=100)


def test_a_large_sample_is_refused() -> None:
    with pytest.raises(ResourceExhaustedError, match="sample has 16777217 bytes"):
        check_announcement(replace(GOOD, sample=b"x" * ((16 << 20) + 1)), max_model_bytes=100)


def test_of_a_file_that_the_controller_reads_the_size_may_be_left_out() -> None:
    unknown = replace(GOOD, size_bytes=0, sha256="", offset_bytes=0)
    check_announcement(unknown, max_model_bytes=100, is_sent=False)
    with pytest.raises(InvalidArgumentError, match="-1"):
        check_announcement(replace(unknown, size_bytes=-1), max_model_bytes=100, is_sent=False)


def test_an_edit_may_say_what_a_registration_may() -> None:
    check_edit(VersionEdit())
    check_edit(VersionEdit("new", {"a": "b"}, ("gone",), {"top1": 0.5}))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (VersionEdit(description="x" * 20_001), "the description has 20001"),
        (VersionEdit(set_tags={"": "x"}), "cannot be a key"),
        (VersionEdit(set_tags={"k": "a\0"}), "control character"),
        (VersionEdit(remove_tags=("a\n",)), "removed tags.*cannot be a key"),
        (VersionEdit(add_metrics={"loss": float("inf")}), "'loss' is inf"),
    ],
)
def test_a_bad_edit_is_refused(edit: VersionEdit, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        check_edit(edit)
