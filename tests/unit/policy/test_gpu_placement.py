"""Which GPU a replica gets, what is said where none can be it, and what a fault of one leads to."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain import Deployment, DeploymentState, Gpu, GpuCondition, ModelFormat, Node, RuntimeOffer
from controlplane.policy.demand import Demand
from controlplane.policy.gpu_choice import choose_gpu, explain_gpus, why_not
from controlplane.policy.rooms import GpuRoom, Room
from tests.unit.policy.simulation import GIB, SimulatedNode, SimulatedYard

A100 = "NVIDIA A100-SXM4-40GB"
SHARES = (100, 50, 25)
ONNX = frozenset({ModelFormat.ONNX})


def gpu(uuid: str, hardware_class: str = A100, shares: tuple[int, ...] = SHARES, **fields: Any) -> Gpu:
    return Gpu(uuid, hardware_class, 40 * GIB, "8.0", shares=shares, **fields)


def room_of(*gpus: GpuRoom) -> Room:
    node = Node("a", "10.0.0.1", (0,), GIB, runtimes=(RuntimeOffer("triton", gpu_formats=ONNX),))
    node = replace(node, gpus=tuple(room.gpu for room in gpus))
    return Room(node, {0: 0}, 0, {room.gpu.uuid: room for room in gpus})


def demand(percent: int, **fields: Any) -> Demand:
    return Demand(1, GIB, gpu_percent=percent, **fields)


def chosen(room: Room, wanted: Demand) -> str:
    share = choose_gpu(room, wanted)
    return share.uuid if share else ""


def test_the_fullest_gpu_with_room_is_taken() -> None:
    room = room_of(GpuRoom(gpu("g1")), GpuRoom(gpu("g2"), used_percent=50), GpuRoom(gpu("g3"), used_percent=75))
    assert chosen(room, demand(25)) == "g3"
    assert chosen(room, demand(50)) == "g2"
    assert chosen(room, demand(100)) == "g1"


def test_a_replica_for_the_cpu_gets_none() -> None:
    assert choose_gpu(room_of(GpuRoom(gpu("g1"))), demand(0)) is None


def test_memory_is_the_same_share_unless_stated() -> None:
    room = room_of(GpuRoom(gpu("g1")))
    shares = [choose_gpu(room, demand(25)), choose_gpu(room, demand(25, gpu_memory_bytes=3 * GIB))]
    assert [share and share.memory_bytes for share in shares] == [10 * GIB, 3 * GIB]


@pytest.mark.parametrize(
    ("room", "wanted", "reason"),
    [
        (GpuRoom(gpu("g1")), demand(25), ""),
        (GpuRoom(gpu("g1"), fault="XID 79"), demand(25), "it is out of service: XID 79"),
        (
            GpuRoom(gpu("g1")),
            demand(10),
            "it is given away in shares of 100%, 50%, 25%, 10% was asked for",
        ),
        (
            GpuRoom(gpu("g1", shares=(100,), whole_because="it has no MPS")),
            demand(25),
            "it is given away in shares of 100% (it has no MPS), 25% was asked for",
        ),
        (GpuRoom(gpu("g1"), used_percent=25), demand(100), "needs 100%, 75% is free"),
        (
            GpuRoom(gpu("g1"), used_bytes=35 * GIB),
            demand(25),
            "needs 10 GiB of GPU memory, 5 GiB is free",
        ),
        (
            GpuRoom(gpu("g1")),
            demand(50, gpu_memory_bytes=50 * GIB),
            "needs 50 GiB of GPU memory, it has 40 GiB",
        ),
        (
            GpuRoom(gpu("g1", "NVIDIA H100 PCIe")),
            demand(100, built_for="A100"),
            "the plan was built for A100, it is a NVIDIA H100 PCIe",
        ),
    ],
)
def test_each_reason_against_a_gpu(room: GpuRoom, wanted: Demand, reason: str) -> None:
    assert why_not(room, wanted) == reason
    assert (chosen(room_of(room), wanted) == "") is bool(reason)


@pytest.mark.parametrize(
    ("hardware_class", "name", "fits"),
    [
        (A100, "A100", True),
        (A100, "a100 40gb", True),
        (A100, "A100-SXM4-40GB", True),
        (A100, "NVIDIA A100-SXM4-40GB", True),
        (A100, "A100-80GB", False),
        # The beginning of a name is another GPU's name.
        (A100, "A10", False),
        ("NVIDIA A10", "A10", True),
        ("NVIDIA A10", "A100", False),
        ("NVIDIA L4", "L40S", False),
        ("NVIDIA L40S", "L4", False),
        ("Tesla T4", "T4", True),
    ],
)
def test_a_plan_runs_on_the_gpu_that_it_was_built_for_alone(hardware_class: str, name: str, fits: bool) -> None:
    room = room_of(GpuRoom(gpu("g1", hardware_class)))
    assert (chosen(room, demand(100, built_for=name)) == "g1") is fits


def test_a_node_says_once_what_stands_against_all_its_gpus() -> None:
    full = [GpuRoom(gpu(name), used_percent=100) for name in ("g1", "g2")]
    assert explain_gpus(room_of(*full), demand(50)) == "each of its 2 GPUs: needs 50%, 0% is free"
    assert explain_gpus(room_of(full[0]), demand(50)) == "its GPU: needs 50%, 0% is free"
    mixed = room_of(full[0], GpuRoom(gpu("g2"), fault="XID 79"))
    assert explain_gpus(mixed, demand(50)) == ("GPU g1: needs 50%, 0% is free; GPU g2: it is out of service: XID 79")
    assert explain_gpus(room_of(GpuRoom(gpu("g1")), full[1]), demand(50)) == ""


@given(
    st.lists(st.tuples(st.sampled_from([0, 25, 50, 75, 100]), st.integers(0, 40), st.booleans()), max_size=5),
    st.sampled_from([25, 50, 100]),
)
def test_what_is_given_was_free(uses: list[tuple[int, int, bool]], percent: int) -> None:
    rooms = [
        GpuRoom(gpu(f"g{i}"), used, used_gib * GIB, "XID 79" if is_faulty else "")
        for i, (used, used_gib, is_faulty) in enumerate(uses)
    ]
    share = choose_gpu(room_of(*rooms), demand(percent))
    able = [room for room in rooms if not why_not(room, demand(percent))]
    assert (share is None) is (not able)
    if share:
        room = next(room for room in rooms if room.gpu.uuid == share.uuid)
        assert not room.fault
        assert (share.percent <= room.free_percent, share.memory_bytes <= room.free_bytes) == (True, True)
        assert room.free_percent == min(room.free_percent for room in able)


# -- whole yards


def gpu_node(name: str, *gpus: Gpu) -> SimulatedNode:
    return SimulatedNode(name, cores=8, gpus=gpus, gpu_formats=ONNX)


def deploy(yard: SimulatedYard, replicas: int, percent: int, model: str = "resnet") -> None:
    yard.set_alias(model, 1)
    yard.deploy(Deployment(model, "production", replicas, 1, gpu_percent=percent))


def gpus_of(yard: SimulatedYard, model: str = "resnet") -> list[str]:
    return sorted(replica.allocation.gpu.uuid for replica in yard.running(model) if replica.allocation.gpu)


def test_shares_are_packed_and_a_whole_gpu_is_shared_with_nobody() -> None:
    yard = SimulatedYard(gpu_node("a", gpu("g1"), gpu("g2")))
    deploy(yard, 3, 25)
    yard.settle()
    deploy(yard, 1, 100, "bert")
    yard.settle()
    assert gpus_of(yard) == ["g1"] * 3
    assert gpus_of(yard, "bert") == ["g2"]
    deploy(yard, 4, 50, "third")
    yard.settle()
    assert gpus_of(yard, "third") == []
    assert "GPU g1: needs 50%, 25% is free; GPU g2: needs 50%, 0% is free" in yard.status("third").message


def test_a_node_without_gpus_gets_no_replica_for_one() -> None:
    yard = SimulatedYard(SimulatedNode("a"), gpu_node("b", gpu("g1")))
    deploy(yard, 1, 50)
    yard.settle()
    assert [replica.node for replica in yard.running()] == ["b"]


def test_nothing_is_placed_on_a_gpu_that_is_out_of_service() -> None:
    yard = SimulatedYard(gpu_node("a", gpu("g1"), gpu("g2")))
    yard.nodes["a"].gpu_conditions["g1"] = GpuCondition("g1", "XID 79: it has fallen off the bus")
    deploy(yard, 2, 50)
    yard.settle()
    assert gpus_of(yard) == ["g2", "g2"]


def test_replicas_on_a_gpu_that_fails_are_replaced_elsewhere_before_they_leave() -> None:
    yard = SimulatedYard(gpu_node("a", gpu("g1"), gpu("g2")))
    deploy(yard, 2, 50)
    yard.settle()
    assert gpus_of(yard) == ["g1", "g1"]
    served = set(yard.endpoints_of("resnet"))
    yard.nodes["a"].gpu_conditions["g1"] = GpuCondition("g1", "XID 79: it has fallen off the bus")
    yard.step()
    assert set(yard.endpoints_of("resnet")) == served
    yard.settle()
    assert gpus_of(yard) == ["g2", "g2"]
    assert len(yard.endpoints_of("resnet")) == 2
    assert yard.status().state is DeploymentState.READY


def test_where_no_other_gpu_has_room_it_says_why_and_goes_back_when_the_gpu_is_mended() -> None:
    yard = SimulatedYard(gpu_node("a", gpu("g1")))
    deploy(yard, 1, 100)
    yard.settle()
    yard.nodes["a"].gpu_conditions["g1"] = GpuCondition("g1", "XID 79: it has fallen off the bus")
    yard.settle()
    assert "its GPU: it is out of service: XID 79: it has fallen off the bus" in yard.status().message
    yard.nodes["a"].gpu_conditions["g1"] = GpuCondition("g1")
    yard.settle()
    assert gpus_of(yard) == ["g1"]
    assert yard.status().state is DeploymentState.READY


def test_a_gpu_that_its_node_no_longer_offers_is_left() -> None:
    yard = SimulatedYard(gpu_node("a", gpu("g1"), gpu("g2")))
    deploy(yard, 1, 100)
    yard.settle()
    yard.nodes["a"].gpus = (gpu("g2"),)
    yard.settle()
    assert gpus_of(yard) == ["g2"]


def test_how_busy_a_gpu_is_decides_nothing() -> None:
    yard = SimulatedYard(gpu_node("a", gpu("g1")))
    deploy(yard, 1, 50)
    yard.settle()
    before = yard.running()
    yard.nodes["a"].gpu_conditions["g1"] = GpuCondition("g1", "", 100, 40 * GIB, 9)
    yard.settle()
    assert yard.running() == before
