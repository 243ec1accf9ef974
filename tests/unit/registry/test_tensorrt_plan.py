"""What is read of a TensorRT plan's header, and what its owner has to say."""

import pytest

from controlplane.domain import TensorrtDetails
from controlplane.registry.formats.tensorrt_plan import is_plan, read_plan
from modelyard.errors import InvalidArgumentError

PLAN = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + bytes(100)


def test_the_version_is_read_where_the_layout_is_the_told_one() -> None:
    assert is_plan(PLAN)
    assert read_plan(PLAN, " NVIDIA A10 ") == TensorrtDetails("10.3.0.26", "NVIDIA A10")


@pytest.mark.parametrize(
    "plan",
    [
        b"ftrt\x01" + PLAN[5:],  # another layout
        b"ptrt" + PLAN[4:],
        PLAN[:24] + bytes(4) + PLAN[28:],
    ],
)
def test_a_version_that_is_not_told_is_left_empty(plan: bytes) -> None:
    assert is_plan(plan)
    assert read_plan(plan, "A10") == TensorrtDetails("", "A10")


@pytest.mark.parametrize("size", [4, 27, 28])
def test_a_plan_without_its_whole_header_is_cut_off(size: int) -> None:
    with pytest.raises(InvalidArgumentError, match="cut off"):
        read_plan(PLAN[:size], "A10")


@pytest.mark.parametrize(
    ("gpu", "told"), [("", "runs only on the GPU model.*--gpu"), ("  ", "--gpu"), ("a\nb", "name")]
)
def test_the_gpu_has_to_be_named(gpu: str, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        read_plan(PLAN, gpu)


def test_other_files_are_no_plans() -> None:
    assert not is_plan(b"trtf" + PLAN[4:])
    assert not is_plan(b"")
