"""Which GPUs are offered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.devices.gpu_selection import choose_gpus, parse_names
from nodeagent.devices.gpus import GpuFacts, GpuList
from tests.unit.nodeagent.gpu_pieces import BIG_MIG, GPU, OTHER, SMALL_MIG

ALL_GPUS = (GPU, OTHER, BIG_MIG, SMALL_MIG)
FOUND = GpuList(ALL_GPUS, driver_version="550.54.14")


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("all", ALL_GPUS),
        ("0", (GPU,)),
        ("1,0", (OTHER, GPU)),
        ("0,GPU-aa11", (GPU,)),
        ("2", (BIG_MIG, SMALL_MIG)),
        ("2:1", (SMALL_MIG,)),
        ("MIG-bb1", (BIG_MIG,)),
        ("GPU-aa33", (BIG_MIG, SMALL_MIG)),
    ],
)
def test_gpus_are_named_by_index_uuid_or_the_start_of_one(wanted: str, chosen: tuple[GpuFacts, ...]) -> None:
    selection = choose_gpus(FOUND, wanted, None)
    assert (selection.gpus, selection.message, selection.driver_version) == (chosen, "", "550.54.14")


@pytest.mark.parametrize("wanted", ["7", "2:5", "GPU-zz", "GPU-aa", "0:0", "A100"])
def test_an_unknown_or_ambiguous_name_is_an_error_that_lists_what_is_there(wanted: str) -> None:
    with pytest.raises(ValueError, match=r"not here: there are 0 \(GPU-aa11, NVIDIA A100-SXM4-40GB\), 1 \(GPU-aa22"):
        choose_gpus(FOUND, wanted, None)


def test_the_error_says_why_a_gpu_is_left_out() -> None:
    with pytest.raises(ValueError, match=r"not here \(GPU 0 is not offered: it is lost\): there is none"):
        choose_gpus(GpuList((), ("GPU 0 is not offered: it is lost",)), "0", None)


@pytest.mark.parametrize("text", ["", "0,,1", "all,0", "none,all", " "])
def test_what_names_no_gpus_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="as in 0,1 or GPU-5c3f"):
        parse_names(text)


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("0,1", (GPU, OTHER)),
        ("1,0", (OTHER, GPU)),
        ("GPU-aa2", (OTHER,)),
        ("MIG-bb22", (SMALL_MIG,)),
        ("0,9,1", (GPU,)),  # CUDA reads no further than the first that it does not know
        ("-1", ()),
        ("", ()),
        ("NoDevFiles", ()),
    ],
)
def test_the_agents_own_environment_limits_what_it_offers(visible: str, seen: tuple[GpuFacts, ...]) -> None:
    selection = choose_gpus(FOUND, "all", visible)
    assert selection.gpus == seen
    assert selection.message == f"CUDA_VISIBLE_DEVICES of the agent hides {4 - len(seen)} of 4 GPUs"


def test_what_the_environment_hides_cannot_be_named() -> None:
    with pytest.raises(ValueError, match=r"names 1, which is not here: there are 0 \(GPU-aa11"):
        choose_gpus(FOUND, "1", "0")


def test_a_host_whose_driver_finds_none_says_so() -> None:
    assert choose_gpus(GpuList(()), "all", None).message == "NVIDIA's driver finds no GPU here"
    left_out = GpuList((GPU,), ("GPU 1 is not offered: it is lost",))
    assert choose_gpus(left_out, "all", None).message == "GPU 1 is not offered: it is lost"


@given(st.text(alphabet="0123:,-GPUMIGab ", max_size=20))
def test_no_environment_makes_it_fail(visible: str) -> None:
    assert set(choose_gpus(FOUND, "all", visible).gpus) <= set(ALL_GPUS)
