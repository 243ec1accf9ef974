"""When what is known of a content holds for another registration of it, and what of it does."""

from dataclasses import replace

import pytest

from controlplane.domain import FormatDetails, OnnxDetails, Signature, TensorrtDetails, Version
from controlplane.registry.announcement import Announcement
from controlplane.registry.drafts import can_copy, copy_draft
from modelyard.errors import InvalidArgumentError
from tests.harness.records import NOW, make_draft

PLAN, ONNX = TensorrtDetails("10.3", "NVIDIA A10"), OnnxDetails(8, {"": 17})


def make_known(details: FormatDetails) -> Version:
    return Version(1, replace(make_draft(), details=details, signature=Signature((), ()), sample=None), NOW)


def announce(gpu: str) -> Announcement:
    return Announcement("other", 7, "0" * 64, gpu=gpu)


@pytest.mark.parametrize(
    ("details", "gpu", "wanted"),
    [(ONNX, "", True), (ONNX, "  ", True), (ONNX, "NVIDIA A10", False), (PLAN, "", True), (PLAN, "NVIDIA L4", True)],
)
def test_only_a_plan_may_be_copied_with_a_gpu(details: FormatDetails, gpu: str, wanted: bool) -> None:
    assert can_copy(announce(gpu), make_known(details)) is wanted


@pytest.mark.parametrize(("gpu", "kept"), [("", "NVIDIA A10"), ("  ", "NVIDIA A10"), (" NVIDIA L4 ", "NVIDIA L4")])
def test_a_copied_plan_has_its_gpu_without_blanks_around_it(gpu: str, kept: str) -> None:
    assert copy_draft(announce(gpu), make_known(PLAN)).details == TensorrtDetails("10.3", kept)


def test_a_copied_plan_takes_no_gpu_that_a_first_one_would_not() -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be a GPU's name"):
        copy_draft(announce("A\n10"), make_known(PLAN))
