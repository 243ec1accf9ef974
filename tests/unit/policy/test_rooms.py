"""What is left of a node's cores, memory and GPUs beside the replicas that it has."""

from typing import Any

import pytest

from controlplane.domain import Allocation, Gpu, GpuCondition, GpuShare, Node, Replica
from controlplane.policy.rooms import NO_HANDOVER, Handover, Room, compute_room
from tests.unit.policy.simulation import GIB

GPU = Gpu("GPU-0", "NVIDIA A100", 40 * GIB, shares=(100, 75, 50, 25))
OTHER = Gpu("GPU-1", "NVIDIA A100", 40 * GIB, shares=(100, 75, 50, 25))


def node(**fields: Any) -> Node:
    return Node("a", "10.0.0.1", cores=(0, 1, 2, 3), memory_bytes=16 * GIB, gpus=(GPU, OTHER), **fields)


def replica(
    name: str, percent: int, *, gib: int = 0, cores: tuple[int, ...] = (0,), uuid: str = "GPU-0", after: str = ""
) -> Replica:
    """With so much of the GPU's memory; 0: nobody stated it."""
    share = GpuShare(uuid, percent, gib * GIB or percent * 40 * GIB // 100)
    allocation = Allocation(cores, len(cores), GIB, share)
    return Replica(name, "resnet", 1, "production", "a", allocation, takes_over=after)


def room(*replicas: Replica, handover: Handover = NO_HANDOVER) -> Room:
    return compute_room(node(), replicas, handover)


def free(found: Room, uuid: str = "GPU-0") -> tuple[int, int]:
    """Percent, and GiB."""
    return found.gpus[uuid].free_percent, found.gpus[uuid].free_bytes // GIB


def test_shares_of_a_gpu_add_up() -> None:
    found = room(replica("r-1", 25), replica("r-2", 50, gib=3), replica("r-3", 100, uuid="GPU-1"))
    assert (free(found), free(found, "GPU-1")) == ((25, 27), (0, 0))


def test_what_is_handed_over_counts_as_free_and_memory_of_the_host_does_not() -> None:
    found = room(replica("r-1", 75), handover=Handover("r-1"))
    assert found.free_cores == 4
    assert found.free_bytes == 15 * GIB
    assert free(found) == (100, 40)


@pytest.mark.parametrize(
    ("gib", "wants_stated", "free_gib"), [(0, False, 40), (0, True, 40), (6, False, 40), (6, True, 34)]
)
def test_memory_of_a_gpu_is_handed_over_save_where_both_have_stated_theirs(
    gib: int, wants_stated: bool, free_gib: int
) -> None:
    assert free(room(replica("r-1", 75, gib=gib), handover=Handover("r-1", wants_stated))) == (100, free_gib)


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ((50, 0), (75, 0), (25, 10)),
        ((50, 0), (25, 0), (50, 20)),
        ((50, 0), (50, 6), (50, 20)),
        ((50, 6), (50, 0), (50, 20)),
        ((50, 6), (50, 8), (50, 26)),  # both stated theirs
    ],
)
def test_only_what_a_successor_has_more_is_counted_beside_its_predecessor(
    before: tuple[int, int], after: tuple[int, int], left: tuple[int, int]
) -> None:
    found = room(replica("r-1", before[0], gib=before[1]), replica("r-2", after[0], gib=after[1], after="r-1"))
    assert free(found) == left


def test_a_successor_on_another_gpu_shares_nothing() -> None:
    found = room(replica("r-1", 50), replica("r-2", 50, uuid="GPU-1", after="r-1"))
    assert (free(found), free(found, "GPU-1")) == ((50, 20), (50, 20))


def test_a_successor_counts_alone_once_its_predecessor_is_gone() -> None:
    assert free(room(replica("r-2", 75, after="r-1"))) == (25, 10)


def test_two_predecessors_and_their_successors_share_one_gpu() -> None:
    found = room(
        replica("r-1", 50, cores=(0,)),
        replica("r-2", 50, cores=(1,)),
        replica("r-3", 50, cores=(0,), after="r-1"),
        replica("r-4", 50, cores=(1,), after="r-2"),
    )
    assert free(found) == (0, 0)
    assert found.used_slots == {0: 1, 1: 1, 2: 0, 3: 0}


def test_a_share_of_a_gpu_that_is_not_there_any_more_counts_nowhere() -> None:
    assert free(room(replica("r-1", 50, uuid="GPU-9"))) == (100, 40)


def test_a_fault_is_told() -> None:
    conditions = {"GPU-1": GpuCondition("GPU-1", fault="XID 79")}
    found = compute_room(node(gpu_conditions=conditions), [])
    assert [gpu.fault for gpu in found.gpus.values()] == ["", "XID 79"]
