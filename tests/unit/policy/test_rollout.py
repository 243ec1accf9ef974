"""A deployment comes, grows, shrinks, moves to other versions and goes, and clients notice nothing."""

from datetime import timedelta

import pytest

from controlplane.domain import Deployment, DeploymentState, ObservedReplica, ReplicaState, Wish
from tests.unit.policy.simulation import SimulatedNode, SimulatedYard

STARTING = ObservedReplica("", ReplicaState.STARTING)
BROKEN = ObservedReplica("", ReplicaState.BACKOFF, message="the file is not a model")


@pytest.fixture
def yard() -> SimulatedYard:
    yard = SimulatedYard(SimulatedNode("a", cores=4))
    yard.set_alias("resnet", 1)
    return yard


def serve(yard: SimulatedYard, replicas: int = 2, threads: int = 1) -> None:
    yard.deploy(Deployment("resnet", "production", replicas=replicas, threads=threads))
    yard.settle()


def test_a_deployment_is_placed_then_routed_when_ready(yard: SimulatedYard) -> None:
    yard.deploy(Deployment("resnet", "production", replicas=2))
    yard.control()
    assert [r.replica_id for r in yard.running()] == ["resnet-production-v1-1", "resnet-production-v1-2"]
    assert yard.status().state is DeploymentState.PENDING
    assert yard.route_of("resnet").pool == ""
    assert yard.route_of("resnet").reason == "resnet@1: 2 replicas, 2 pending"
    yard.settle()
    assert yard.route_of("resnet").pool == "resnet/production@1"
    assert {r.key for r in yard.stored.route_table.routes} == {"resnet", "resnet@production", "resnet@1"}
    assert yard.status().state is DeploymentState.READY
    assert yard.status().message == "version 1 is served by 2 replicas"


def test_old_replicas_serve_until_all_new_ones_are_ready_and_leave_in_one_table(yard: SimulatedYard) -> None:
    serve(yard)
    yard.nodes["a"].becomes[("resnet", 2)] = STARTING
    yard.set_alias("resnet", 2)
    for _ in range(3):
        yard.step()
    assert yard.route_of("resnet").version == 1
    assert len(yard.endpoints_of("resnet")) == 2
    assert yard.status().state is DeploymentState.PROGRESSING
    assert yard.status().message == "version 2: 0 of 2 replicas ready, 2 starting; version 1 serves until then"

    first, second = yard.running(version=2)
    node = yard.nodes["a"]
    del node.becomes[("resnet", 2)]
    node.observed[first.replica_id] = ObservedReplica(first.replica_id, ReplicaState.READY, port=1)
    yard.step()
    assert yard.route_of("resnet").version == 1  # one of two is not enough
    assert yard.route_of("resnet@2").pool == "resnet/production@2"  # but it can be asked for by number
    node.observed[second.replica_id] = ObservedReplica(second.replica_id, ReplicaState.READY, port=2)
    before = yard.stored.route_table.version
    decision = yard.control()
    assert [replica.wish for replica in decision.plan.update] == [Wish.RETIRE, Wish.RETIRE]
    assert yard.route_of("resnet").version == 2
    assert yard.stored.route_table.version == before + 1
    assert all("v1" not in pool.name for pool in yard.stored.route_table.pools)


def test_a_retired_replica_runs_until_every_router_has_followed(yard: SimulatedYard) -> None:
    serve(yard, replicas=2)
    yard.deploy(Deployment("resnet", "production", replicas=1))
    yard.control()
    yard.obey()
    [leaving] = [r for r in yard.stored.replicas.values() if r.wish is Wish.RETIRE]
    assert leaving.retired_in == yard.stored.route_table.version
    for _ in range(5):
        yard.control()
        yard.obey()
    assert leaving.replica_id in yard.nodes["a"].observed  # the router has not applied the table
    yard.route()
    yard.control()
    assert yard.stored.replicas[leaving.replica_id].wish is Wish.STOP
    yard.settle()
    assert leaving.replica_id not in yard.stored.replicas


def test_scaling_down_keeps_the_ready_and_the_oldest(yard: SimulatedYard) -> None:
    serve(yard, replicas=3)
    oldest, middle, newest = [r.replica_id for r in yard.running()]
    yard.nodes["a"].observed[oldest] = BROKEN
    yard.deploy(Deployment("resnet", "production", replicas=1))
    yard.settle()
    assert [r.replica_id for r in yard.running()] == [middle]
    assert newest not in yard.nodes["a"].observed


def test_a_failing_version_never_takes_the_old_one_down(yard: SimulatedYard) -> None:
    serve(yard)
    yard.nodes["a"].becomes[("resnet", 2)] = BROKEN
    yard.set_alias("resnet", 2)
    yard.settle()
    yard.now += timedelta(hours=1)
    yard.settle()
    assert len(yard.endpoints_of("resnet")) == 2
    status = yard.status()
    assert (status.state, status.serving_version, status.target_version) == (DeploymentState.DEGRADED, 1, 2)
    wanted = "version 2: 0 of 2 replicas ready, 2 in backoff: the file is not a model; version 1 goes on serving"
    assert status.message == wanted
    yard.set_alias("resnet", 1)
    yard.settle()
    assert yard.status().state is DeploymentState.READY
    assert yard.running(version=2) == []


def test_an_alias_that_moves_back_and_forth_ends_where_it_points(yard: SimulatedYard) -> None:
    serve(yard)
    yard.nodes["a"].becomes[("resnet", 2)] = STARTING
    for target in (2, 1, 2, 3, 1, 3):
        yard.set_alias("resnet", target)
        yard.step()
        assert len(yard.endpoints_of("resnet")) == 2
    yard.settle()
    assert yard.route_of("resnet").version == 3
    assert {r.version for r in yard.stored.replicas.values()} == {3}


def test_an_attempt_that_was_overtaken_leaves_before_the_next_is_ready(yard: SimulatedYard) -> None:
    serve(yard)
    yard.nodes["a"].becomes |= {("resnet", 2): STARTING, ("resnet", 3): STARTING}
    yard.set_alias("resnet", 2)
    yard.step()
    yard.set_alias("resnet", 3)
    yard.settle()
    assert {r.version for r in yard.stored.replicas.values()} == {1, 3}


def test_other_threads_replace_the_replicas_one_version_serving_all_along(yard: SimulatedYard) -> None:
    serve(yard, replicas=1)
    yard.deploy(Deployment("resnet", "production", replicas=1, threads=2))
    while yard.running()[0].allocation.threads == 1:
        yard.step()
        assert yard.endpoints_of("resnet")
    yard.settle()
    [replica] = yard.running()
    assert (replica.allocation.threads, len(replica.allocation.cores)) == (2, 2)
    assert yard.status().state is DeploymentState.READY


def test_undeployed_replicas_leave_the_routes_first(yard: SimulatedYard) -> None:
    serve(yard)
    yard.undeploy("resnet")
    yard.control()
    assert yard.stored.route_table.routes == ()
    assert len(yard.nodes["a"].desired) == 2
    yard.settle()
    assert yard.stored.replicas == {}
    assert yard.nodes["a"].observed == {}


def test_no_replicas_are_wanted(yard: SimulatedYard) -> None:
    serve(yard)
    yard.deploy(Deployment("resnet", "production", replicas=0))
    yard.settle()
    assert yard.stored.replicas == {}
    assert yard.status().state is DeploymentState.READY
    assert "`modelyard deploy resnet --alias production --replicas 1`" in yard.route_of("resnet").reason
