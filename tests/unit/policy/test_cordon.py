"""A node is cordoned: nothing new comes, nothing leaves."""

import pytest

from controlplane.domain import (
    Author,
    Deployment,
    DeploymentState,
    NodeScheduling,
    ObservedReplica,
    ReplicaState,
    Schedulability,
)
from controlplane.policy.wording import describe_scheduling
from tests.unit.policy.simulation import START, SimulatedNode, SimulatedYard

CORDONED, OPEN = Schedulability.CORDONED, Schedulability.OPEN


@pytest.fixture
def yard() -> SimulatedYard:
    yard = SimulatedYard(SimulatedNode("a", cores=2))
    yard.set_alias("resnet", 1)
    yard.deploy(Deployment("resnet", "production", replicas=1))
    yard.settle()
    yard.schedule("a", CORDONED)
    return yard


def test_nothing_leaves(yard: SimulatedYard) -> None:
    assert yard.decide().plan.is_empty()
    yard.settle()
    assert yard.status().state is DeploymentState.READY


def test_nothing_new_comes_until_it_is_opened(yard: SimulatedYard) -> None:
    yard.deploy(Deployment("resnet", "production", replicas=2))
    yard.settle()
    assert len(yard.running()) == 1
    assert "node a: it is cordoned by ada (new disk); open it with `modelyard node uncordon a`" in yard.status().message
    yard.schedule("a", OPEN)
    yard.settle()
    assert len(yard.running()) == 2


def test_a_reason_of_several_lines_is_told_in_one(yard: SimulatedYard) -> None:
    scheduling = NodeScheduling("a", CORDONED, Author(START, "ada", "new disk,\n  on Monday"))
    assert describe_scheduling(scheduling) == "cordoned by ada (new disk, on Monday)"


def test_new_replicas_go_to_the_other_nodes(yard: SimulatedYard) -> None:
    yard.nodes["b"] = SimulatedNode("b", cores=2)
    yard.set_alias("resnet", 2)
    yard.settle()
    assert [(replica.node, replica.version) for replica in yard.stored.replicas.values()] == [("b", 2)]


def test_a_replica_that_crashed_there_starts_again_there(yard: SimulatedYard) -> None:
    """Its agent does that, as long as the replica is in its desired set."""
    [replica] = yard.running()
    yard.nodes["a"].observed[replica.replica_id] = ObservedReplica(replica.replica_id, ReplicaState.BACKOFF, restarts=9)
    yard.nodes["b"] = SimulatedNode("b")
    yard.settle()
    assert yard.running() == [replica]
    assert [desired.replica_id for desired in yard.nodes["a"].desired] == [replica.replica_id]


def test_no_cores_are_handed_over_there(yard: SimulatedYard) -> None:
    yard.nodes["a"].cores = 1
    yard.settle()
    yard.set_alias("resnet", 2)
    yard.settle()
    assert yard.running(version=2) == []
    assert yard.status().state is DeploymentState.DEGRADED
