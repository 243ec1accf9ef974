"""An alias moves on a machine that is full."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controlplane.domain import Allocation, Deployment, DeploymentState, ObservedReplica, Replica, ReplicaState, Wish
from tests.unit.policy.simulation import GIB, SimulatedNode, SimulatedYard

STARTING = ObservedReplica("", ReplicaState.STARTING)


@pytest.fixture
def full() -> SimulatedYard:
    yard = SimulatedYard(SimulatedNode("a", cores=2, memory_bytes=4 * GIB))
    yard.set_alias("resnet", 1)
    yard.deploy(Deployment("resnet", "production", replicas=2))
    yard.settle()
    return yard


def test_each_successor_takes_over_the_cores_of_one_predecessor(full: SimulatedYard) -> None:
    full.set_alias("resnet", 2)
    full.control()
    handed_over = {r.takes_over: r.allocation.cores for r in full.running(version=2)}
    assert handed_over == {"resnet-production-v1-1": (0,), "resnet-production-v1-2": (1,)}
    full.settle()
    assert full.route_of("resnet").version == 2
    assert len(full.endpoints_of("resnet")) == 2
    full.set_alias("resnet", 3)
    full.settle()
    assert full.route_of("resnet").version == 3


def test_another_deployment_cannot_take_those_cores(full: SimulatedYard) -> None:
    full.set_alias("bert", 1)
    full.deploy(Deployment("bert", "production", replicas=1))
    full.settle()
    assert full.running("bert") == []
    assert full.status("bert").state is DeploymentState.DEGRADED
    assert "node a: needs 1 core, 0 of 2 are free" in full.status("bert").message


def test_memory_must_fit_beside_the_predecessor(full: SimulatedYard) -> None:
    full.deploy(Deployment("resnet", "production", replicas=2, memory_bytes=4 * GIB))
    full.settle()
    assert len(full.endpoints_of("resnet")) == 2
    assert full.status().state is DeploymentState.DEGRADED
    assert "node a: needs 4 GiB of memory" in full.status().message


def test_a_successor_shares_with_one_predecessor_only(full: SimulatedYard) -> None:
    full.nodes["a"].becomes |= {("resnet", 2): STARTING, ("resnet", 3): STARTING}
    full.set_alias("resnet", 2)
    full.step()
    full.set_alias("resnet", 3)
    decision = full.control()
    assert decision.plan.create == ()  # each core is with version 1 and on its way from version 2
    full.obey()
    full.settle()
    assert sorted(r.allocation.cores for r in full.running(version=3)) == [(0,), (1,)]
    assert len(full.endpoints_of("resnet")) == 2


def test_more_replicas_than_fit_do_not_hold_a_version_change_up(full: SimulatedYard) -> None:
    full.deploy(Deployment("resnet", "production", replicas=5))
    full.settle()
    full.set_alias("resnet", 2)
    full.settle()
    full.now += timedelta(hours=1)
    full.settle()
    assert full.route_of("resnet").version == 2
    assert len(full.endpoints_of("resnet")) == 2
    assert full.status().state is DeploymentState.DEGRADED
    assert full.status().message.startswith("version 2: 2 of 5 replicas ready; 3 of 5 replicas have no place: node a:")


def test_a_replica_that_still_shares_cores_hands_none_over() -> None:
    """Else its cores would count for nobody but its own predecessor, and be given away again."""
    yard = SimulatedYard(SimulatedNode("a", cores=2, replicas_per_core=2))
    for version in (1, 2, 3):
        yard.register("resnet", version)
    yard.set_alias("resnet", 3)
    yard.set_alias("bert", 1)
    yard.deploy(Deployment("resnet", "production", threads=2))
    yard.deploy(Deployment("bert", "production", memory_bytes=GIB))
    leaving = replica("resnet-production-v1-1", 1, (0,), wish=Wish.RETIRE)
    sharing = replica("resnet-production-v2-2", 2, (0, 1), takes_over=leaving.replica_id)
    other = replica("bert-production-v1-3", 1, (1,), model="bert")
    placed = {placed.replica_id: placed for placed in (leaving, sharing, other)}
    yard.stored = replace(yard.stored, replicas=placed, next_replica_number=4)
    assert yard.decide().plan.create == ()
    alone = {name: kept for name, kept in placed.items() if kept is not leaving}
    yard.stored = replace(yard.stored, replicas=alone)
    [created] = yard.decide().plan.create
    assert created.takes_over == sharing.replica_id


def replica(name: str, version: int, cores: tuple[int, ...], *, model: str = "resnet", **fields: Any) -> Replica:
    allocation = Allocation(cores, threads=len(cores), memory_bytes=GIB)
    return Replica(name, model, version, "production", "a", allocation, **fields)
