"""A deployment is wished to be served otherwise: its replicas are replaced, and it is served all along."""

from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain import (
    Deployment,
    DeploymentState,
    Gpu,
    ModelFormat,
    ObservedReplica,
    Replica,
    ReplicaState,
    Serving,
)
from tests.unit.policy.simulation import GIB, SimulatedNode, SimulatedYard

ALL = frozenset(ModelFormat)
GPU = Gpu("GPU-0", "NVIDIA A100", 40 * GIB, shares=(100, 50, 25))


def gpu_node(name: str = "a", **fields: Any) -> SimulatedNode:
    return SimulatedNode(name, cores=8, gpu_formats=ALL, **{"gpus": (GPU,), **fields})


def serve(yard: SimulatedYard, **wish: Any) -> None:
    if not yard.stored.aliases:
        yard.set_alias("resnet", 1)
    yard.deploy(Deployment("resnet", "production", **wish))
    yard.settle()


def the_replica(yard: SimulatedYard) -> Replica:
    [replica] = yard.stored.replicas.values()
    return replica


def percent(replica: Replica) -> int:
    return replica.allocation.gpu.percent if replica.allocation.gpu else 0


@pytest.mark.parametrize(
    "serving", [Serving(max_batch_rows=8), Serving(max_batch_rows=8, max_batch_wait_us=500), Serving("built-in")]
)
def test_other_serving_options_replace_the_replicas_once_others_are_ready(serving: Serving) -> None:
    yard = SimulatedYard(SimulatedNode("a"))
    serve(yard, replicas=2)
    before = yard.endpoints_of("resnet")
    yard.deploy(Deployment("resnet", "production", replicas=2, serving=serving))
    for _ in range(8):
        yard.control()
        assert len(yard.endpoints_of("resnet")) == 2
        yard.step()
    yard.settle()
    assert [replica.serving for replica in yard.running()] == [serving, serving]
    assert not set(before) & set(yard.endpoints_of("resnet"))
    assert [desired.serving for desired in yard.nodes["a"].desired] == [serving, serving]


def test_what_ails_a_replica_that_is_being_replaced_is_not_said_of_what_was_mended() -> None:
    yard = SimulatedYard(SimulatedNode("a"))
    serve(yard, memory_bytes=GIB)
    observed, old = yard.nodes["a"].observed, the_replica(yard)
    observed[old.replica_id] = ObservedReplica(old.replica_id, ReplicaState.BACKOFF, message="it grew to 2 GiB")
    yard.control()
    assert yard.status().state is DeploymentState.DEGRADED
    yard.deploy(Deployment("resnet", "production", memory_bytes=4 * GIB))
    yard.control()
    assert yard.status().state is not DeploymentState.DEGRADED
    assert "it grew" not in yard.status().message
    [new] = [replica for replica in yard.running() if replica != old]
    observed[new.replica_id] = ObservedReplica(new.replica_id, ReplicaState.BACKOFF, message="it grew to 5 GiB")
    yard.control()
    assert yard.status().state is DeploymentState.DEGRADED
    assert "it grew to 5 GiB" in yard.status().message


def test_what_fits_nowhere_is_told_of_the_node_that_it_runs_on_first_and_of_the_others_too() -> None:
    yard = SimulatedYard(SimulatedNode("a", memory_bytes=2 * GIB), SimulatedNode("b", memory_bytes=GIB // 8))
    serve(yard, memory_bytes=GIB)
    yard.nodes["b"] = SimulatedNode("b", memory_bytes=32 * GIB)
    serve(yard, memory_bytes=64 * GIB)
    why = "needs 64 GiB of memory, it offers {}; lower --memory or add a larger host"
    assert f"no place: node a: {why.format('2 GiB')} | node b: {why.format('32 GiB')}" in yard.status().message


def test_another_share_of_a_gpu_replaces_the_replica() -> None:
    yard = SimulatedYard(gpu_node())
    serve(yard, gpu_percent=25)
    old = the_replica(yard)
    yard.deploy(Deployment("resnet", "production", gpu_percent=50))
    while old.replica_id in yard.endpoints_of("resnet"):
        yard.step()
        assert yard.endpoints_of("resnet")
    yard.settle()
    assert (percent(old), percent(the_replica(yard))) == (25, 50)


def test_other_gpu_memory_replaces_the_replica() -> None:
    yard = SimulatedYard(gpu_node())
    serve(yard, gpu_percent=25)
    serve(yard, gpu_percent=25, gpu_memory_bytes=GIB)
    share = the_replica(yard).allocation.gpu
    assert share is not None
    assert share.memory_bytes == GIB


def test_a_deployment_comes_to_a_gpu_and_leaves_it() -> None:
    yard = SimulatedYard(gpu_node())
    shares = []
    for wished in (0, 50, 0):
        serve(yard, gpu_percent=wished)
        shares.append(percent(the_replica(yard)))
    assert shares == [0, 50, 0]


def move(yard: SimulatedYard, version: int) -> None:
    """The alias, with two replicas serving all along."""
    yard.set_alias("resnet", version)
    for _ in range(10):
        yard.step()
        assert len(yard.endpoints_of("resnet")) == 2
    yard.settle()


def test_a_version_changes_on_a_gpu_that_is_all_given_away() -> None:
    yard = SimulatedYard(gpu_node())
    serve(yard, replicas=2, gpu_percent=50)
    move(yard, 2)
    assert [(replica.version, percent(replica)) for replica in yard.running()] == [(2, 50), (2, 50)]
    assert yard.status().state is DeploymentState.READY


def test_memory_of_a_gpu_that_was_stated_must_be_there_for_both_versions() -> None:
    yard = SimulatedYard(gpu_node())
    serve(yard, replicas=2, gpu_percent=50, gpu_memory_bytes=12 * GIB)
    move(yard, 2)
    assert {replica.version for replica in yard.running()} == {1, 2}  # one fits beside the two
    assert "needs 12 GiB of GPU memory, 4 GiB is free" in yard.status().message
    serve(yard, replicas=2, gpu_percent=50, gpu_memory_bytes=2 * GIB)
    assert {replica.version for replica in yard.running()} == {2}


def test_a_share_that_its_gpu_offers_no_longer_is_given_elsewhere() -> None:
    yard = SimulatedYard(gpu_node("a"))
    serve(yard, gpu_percent=25)
    yard.nodes["a"].gpus = (replace(GPU, shares=(100,), whole_because="no MPS here"),)
    yard.settle()
    assert the_replica(yard).node == "a"  # it goes on where nothing can take its place
    assert "it is given away in shares of 100% (no MPS here), 25% was asked for" in yard.status().message
    yard.nodes["b"] = gpu_node("b")
    yard.settle()
    assert the_replica(yard).node == "b"


def test_a_tensorrt_plan_gets_a_whole_gpu_without_being_asked() -> None:
    yard = SimulatedYard(gpu_node())
    yard.register("resnet", 1, format_=ModelFormat.TENSORRT)
    serve(yard)
    assert percent(the_replica(yard)) == 100
    assert yard.decide().plan.is_empty()
    assert yard.status().state is DeploymentState.READY


def test_who_needs_no_gpu_leaves_the_nodes_with_gpus_to_others() -> None:
    yard = SimulatedYard(gpu_node("a"), SimulatedNode("b", cores=1))
    serve(yard, replicas=2)
    assert [replica.node for replica in yard.running()] == ["b", "a"]


def test_replicas_of_an_earlier_release_stay_after_an_upgrade() -> None:
    """Their rows say nothing of a GPU, of serving, of when they were made, and whose memory was estimated."""
    yard = SimulatedYard(gpu_node())
    serve(yard, replicas=2, memory_bytes=0)
    for is_estimated in (True, False):
        stored = {
            name: replace(
                replica,
                created_at=None,
                serving=Serving(),
                allocation=replace(replica.allocation, gpu=None, is_memory_estimated=is_estimated),
            )
            for name, replica in yard.stored.replicas.items()
        }
        yard.stored = replace(yard.stored, replicas=stored)
        yard.restart_controller()
        yard.settle()
        assert yard.stored.replicas == stored
