"""Nodes, routers and the controller fall silent, and come back or not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from controlplane.domain import Deployment, DeploymentState, Wish
from tests.unit.policy.simulation import SimulatedNode, SimulatedYard


@pytest.fixture
def yard() -> SimulatedYard:
    yard = SimulatedYard(SimulatedNode("a"), SimulatedNode("b"))
    yard.set_alias("resnet", 1)
    yard.deploy(Deployment("resnet", "production", replicas=2))
    yard.settle()
    return yard


def test_a_node_that_is_away_for_a_moment_keeps_its_routes(yard: SimulatedYard) -> None:
    before = yard.stored.route_table
    yard.nodes["a"].connected = False
    yard.now += timedelta(seconds=20)
    yard.step()
    assert yard.stored.route_table == before


def test_replicas_of_a_lost_node_are_placed_elsewhere(yard: SimulatedYard) -> None:
    yard.nodes["a"].connected = False
    yard.step()
    yard.now += timedelta(seconds=31)
    before = yard.endpoints_of("resnet")
    yard.control()
    assert sorted(replica.node for replica in yard.running()) == ["a", "a", "b", "b"]
    assert yard.endpoints_of("resnet") == before  # until its successor is ready
    yard.settle()
    assert [replica.node for replica in yard.running()] == ["b", "b"]
    assert len(yard.endpoints_of("resnet")) == 2
    yard.nodes["a"].connected = True
    yard.settle()
    assert yard.nodes["a"].observed == {}  # told to stop what was placed elsewhere


def test_what_cannot_all_be_replaced_goes_on_serving() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=1), SimulatedNode("b", cores=1))
    yard.set_alias("resnet", 1)
    yard.deploy(Deployment("resnet", "production", replicas=2))
    yard.settle()
    before, replicas = yard.endpoints_of("resnet"), set(yard.stored.replicas)
    yard.nodes["a"].connected = False
    yard.step()
    yard.now += timedelta(hours=1)
    yard.settle()
    assert yard.endpoints_of("resnet") == before
    yard.nodes["a"].connected = True
    yard.settle()
    assert set(yard.stored.replicas) == replicas


def test_what_nobody_can_replace_goes_on_serving(yard: SimulatedYard) -> None:
    """Perhaps only the agents are gone, and Envoy tells the dead from the living."""
    before = yard.endpoints_of("resnet")
    for node in yard.nodes.values():
        node.connected = False
    yard.step()
    yard.now += timedelta(hours=1)
    yard.settle()
    assert yard.endpoints_of("resnet") == before
    assert yard.status().state is DeploymentState.DEGRADED
    assert "its agent is not connected" in yard.status().message
    replicas = set(yard.stored.replicas)
    for node in yard.nodes.values():
        node.connected = True
    yard.settle()
    assert set(yard.stored.replicas) == replicas


def test_a_restarted_controller_serves_what_was_routed_until_nodes_have_had_their_time(yard: SimulatedYard) -> None:
    before = yard.stored.route_table
    for node in yard.nodes.values():
        node.connected = False
    yard.restart_controller()
    for _ in range(30):
        assert yard.control().plan.is_empty()
        assert yard.stored.route_table == before
        assert yard.status().state is DeploymentState.PROGRESSING
        assert yard.status().message == "version 1: 0 of 2 replicas ready, 2 not heard of since the controller started"
        yard.now += timedelta(seconds=1)
    yard.now += timedelta(seconds=1)
    yard.control()
    assert yard.stored.route_table == before
    assert yard.status().state is DeploymentState.DEGRADED


def test_a_node_that_reconnects_to_a_restarted_controller_changes_nothing(yard: SimulatedYard) -> None:
    before = yard.stored
    yard.restart_controller()
    yard.settle()
    assert yard.stored == before


def test_nothing_stops_during_the_grace_after_a_restart(yard: SimulatedYard) -> None:
    yard.deploy(Deployment("resnet", "production", replicas=1))
    yard.control()
    yard.route()
    yard.restart_controller()
    yard.routers = {}  # none has reconnected
    yard.control()
    assert [r.wish for r in yard.stored.replicas.values()].count(Wish.RETIRE) == 1
    yard.now += timedelta(seconds=10)
    yard.settle()
    assert len(yard.stored.replicas) == 1


def test_a_router_that_is_away_still_counts_for_a_while(yard: SimulatedYard) -> None:
    yard.routers = {name: replace(view, connected=False) for name, view in yard.routers.items()}
    yard.deploy(Deployment("resnet", "production", replicas=1))
    yard.control()
    for _ in range(3):
        yard.step()
    assert [r.wish for r in yard.stored.replicas.values()].count(Wish.RETIRE) == 1
    yard.now += timedelta(seconds=31)
    yard.settle()
    assert len(yard.stored.replicas) == 1


def test_an_old_answer_does_not_prove_that_a_replica_is_gone(yard: SimulatedYard) -> None:
    node = yard.nodes["a"]
    yard.deploy(Deployment("resnet", "production", replicas=0))
    yard.control()
    yard.route()
    yard.control()  # the wish is STOP now, and the node was told so
    assert {r.wish for r in yard.stored.replicas.values()} == {Wish.STOP}
    node.generation -= 1
    node.observed = {}
    assert yard.control().plan.is_empty()
    node.generation += 1
    assert len(yard.control().plan.delete) == 2


def test_a_router_ahead_of_a_restored_database_gets_a_newer_table(yard: SimulatedYard) -> None:
    yard.routers = {name: replace(view, applied_version=1000) for name, view in yard.routers.items()}
    yard.control()
    assert yard.stored.route_table.version == 1001
