"""A node is drained: what runs there is ready elsewhere before it leaves."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.domain import Deployment, DeploymentState, ObservedReplica, ReplicaState, Schedulability, Wish
from tests.unit.policy.simulation import GIB, SimulatedNode, SimulatedYard

DRAINING, OPEN = Schedulability.DRAINING, Schedulability.OPEN
STARTING = ObservedReplica("", ReplicaState.STARTING)


@pytest.fixture
def yard() -> SimulatedYard:
    """Two replicas on node a, and room for as many on node b."""
    return serve(SimulatedNode("a", cores=2), SimulatedNode("b", cores=2))


def serve(*nodes: SimulatedNode, replicas: int = 2) -> SimulatedYard:
    yard = SimulatedYard(*nodes)
    yard.set_alias("resnet", 1)
    yard.deploy(Deployment("resnet", "production", replicas=replicas))
    yard.settle()
    return yard


def nodes_of(yard: SimulatedYard) -> list[str]:
    return sorted(replica.node for replica in yard.stored.replicas.values())


def run(yard: SimulatedYard, steps: int = 10) -> None:
    for _ in range(steps):
        yard.step()


def ready(yard: SimulatedYard, replica_id: str, port: int = 21000) -> None:
    for node in yard.nodes.values():
        if replica_id in node.observed:
            node.observed[replica_id] = ObservedReplica(replica_id, ReplicaState.READY, port=port)


def test_replacements_are_ready_elsewhere_before_the_first_one_leaves(yard: SimulatedYard) -> None:
    before = yard.endpoints_of("resnet")
    yard.nodes["b"].becomes[("resnet", 1)] = STARTING
    yard.schedule("a", DRAINING)
    run(yard)
    assert nodes_of(yard) == ["a", "a", "b", "b"]
    assert yard.endpoints_of("resnet") == before
    yard.nodes["b"].becomes.clear()
    first, second = [replica.replica_id for replica in yard.running() if replica.node == "b"]
    ready(yard, first)
    run(yard)
    assert [replica.wish for replica in yard.stored.replicas.values()] == [Wish.RUN] * 4  # one of two is not enough
    ready(yard, second)
    decision = yard.control()
    assert {replica.node for replica in decision.plan.update} == {"a"}
    assert yard.endpoints_of("resnet") == [first, second]
    yard.settle()
    assert nodes_of(yard) == ["b", "b"]
    assert yard.nodes["a"].observed == {}
    assert yard.status().state is DeploymentState.READY


def test_the_status_tells_what_is_waited_for(yard: SimulatedYard) -> None:
    yard.nodes["b"].becomes[("resnet", 1)] = STARTING
    yard.schedule("a", DRAINING)
    run(yard)
    assert yard.status().state is DeploymentState.PROGRESSING
    wanted = "version 1: 2 of 2 replicas ready, 2 starting; 2 replicas to leave node a once others are ready"
    assert yard.status().message == wanted


def test_where_there_is_no_room_elsewhere_nothing_leaves_and_the_status_says_why(yard: SimulatedYard) -> None:
    yard.nodes["b"].cores = 1
    yard.settle()
    before = yard.endpoints_of("resnet")
    yard.schedule("a", DRAINING)
    yard.settle()
    yard.now += timedelta(hours=1)
    yard.settle()
    assert nodes_of(yard) == ["a", "a", "b"]
    assert set(before) <= set(yard.endpoints_of("resnet"))
    assert yard.status().message == (
        "version 1 is served by 2 replicas; 1 of 2 new replicas has no place while node a is being drained: "
        "node b: needs 1 core, 0 of 1 are free; lower --threads, stop something or add a host"
    )


def test_who_deployed_has_what_was_wished_for_while_a_drain_has_no_room() -> None:
    yard = serve(SimulatedNode("a", cores=3))
    yard.schedule("a", DRAINING)
    yard.settle()
    assert yard.status().state is DeploymentState.READY
    assert yard.status().message == (
        "version 1 is served by 2 replicas; 2 of 2 new replicas have no place while node a is being drained: "
        "there is no other node; start one with `modelyard agent --controller HOST:PORT`, or open node a again"
    )


def test_who_wishes_for_more_than_there_is_room_for_during_a_drain_does_not_have_it(yard: SimulatedYard) -> None:
    yard.nodes["b"].cores = 1
    yard.schedule("a", DRAINING)
    yard.deploy(Deployment("resnet", "production", replicas=4))
    yard.settle()
    assert yard.status().state is DeploymentState.DEGRADED


def test_replicas_that_are_lost_on_a_drained_node_and_have_no_place_are_missed() -> None:
    yard = serve(SimulatedNode("a", cores=2))
    yard.schedule("a", DRAINING)
    yard.settle()
    yard.nodes["a"].connected = False
    yard.now += timedelta(seconds=40)
    yard.settle()
    assert yard.status().state is DeploymentState.DEGRADED


def test_a_drain_goes_on_once_there_is_room(yard: SimulatedYard) -> None:
    yard.nodes["b"].cores = 1
    yard.schedule("a", DRAINING)
    yard.settle()
    yard.nodes["c"] = SimulatedNode("c", cores=1)
    yard.settle()
    assert nodes_of(yard) == ["b", "c"]


def test_cores_are_never_handed_over_on_a_drained_node() -> None:
    yard = serve(SimulatedNode("a", cores=2))
    yard.schedule("a", DRAINING)
    yard.set_alias("resnet", 2)
    yard.settle()
    assert yard.running(version=2) == []
    assert len(yard.endpoints_of("resnet")) == 2
    assert yard.status().state is DeploymentState.DEGRADED
    assert "have no place while node a is being drained: there is no other node" in yard.status().message
    assert "version 1 goes on serving" in yard.status().message
    yard.schedule("a", OPEN)
    yard.settle()
    assert yard.route_of("resnet").version == 2


def test_a_new_version_goes_to_the_other_nodes_during_a_drain(yard: SimulatedYard) -> None:
    yard.schedule("a", DRAINING)
    yard.set_alias("resnet", 2)
    yard.settle()
    assert [(replica.node, replica.version) for replica in yard.stored.replicas.values()] == [("b", 2), ("b", 2)]


def test_opened_in_the_middle_a_node_keeps_its_replicas_and_their_replacements_leave(yard: SimulatedYard) -> None:
    before = set(yard.stored.replicas)
    yard.nodes["b"].becomes[("resnet", 1)] = STARTING
    yard.schedule("a", DRAINING)
    run(yard)
    yard.schedule("a", OPEN)
    yard.settle()
    assert set(yard.stored.replicas) == before
    assert yard.status().state is DeploymentState.READY


def test_opened_after_its_replicas_were_replaced_a_node_gets_none_back(yard: SimulatedYard) -> None:
    yard.schedule("a", DRAINING)
    yard.settle()
    yard.schedule("a", OPEN)
    assert yard.decide().plan.is_empty()


@pytest.mark.parametrize("has_heard", [True, False], ids=["lost", "not heard of since the controller started"])
def test_a_node_that_is_away_is_drained_all_the_same(yard: SimulatedYard, has_heard: bool) -> None:
    yard.nodes["a"].connected = False
    if not has_heard:
        yard.restart_controller()
    yard.schedule("a", DRAINING)
    run(yard, 15)
    assert [replica.node for replica in yard.running()] == ["b", "b"]
    yard.now += timedelta(seconds=40)
    yard.settle()
    assert nodes_of(yard) == ["b", "b"]


def test_what_fails_again_and_again_is_moved_without_waiting_for_it_to_be_ready(yard: SimulatedYard) -> None:
    broken = ObservedReplica("", ReplicaState.BACKOFF, restarts=3, message="its runtime crashed")
    for node in yard.nodes.values():
        node.becomes[("resnet", 1)] = broken
    run(yard)
    yard.schedule("a", DRAINING)
    yard.settle()
    assert nodes_of(yard) == ["b", "b"]


def test_what_failed_once_may_be_back_before_its_replacement(yard: SimulatedYard) -> None:
    for node in yard.nodes.values():
        node.becomes[("resnet", 1)] = ObservedReplica("", ReplicaState.BACKOFF, restarts=1)
    run(yard)
    yard.schedule("a", DRAINING)
    yard.settle()
    assert nodes_of(yard) == ["a", "a", "b", "b"]


def test_what_fails_again_and_again_stays_where_there_is_no_room_for_it() -> None:
    yard = serve(SimulatedNode("a", cores=1), replicas=1)
    yard.nodes["a"].becomes[("resnet", 1)] = ObservedReplica("", ReplicaState.BACKOFF, restarts=9)
    run(yard)
    yard.schedule("a", DRAINING)
    yard.settle()
    assert nodes_of(yard) == ["a"]


def test_fewer_replicas_are_wished_for_during_a_drain(yard: SimulatedYard) -> None:
    yard.nodes["b"].cores = 1
    yard.schedule("a", DRAINING)
    yard.settle()
    yard.deploy(Deployment("resnet", "production", replicas=1))
    yard.settle()
    assert nodes_of(yard) == ["b"]


def test_none_are_wished_for_during_a_drain(yard: SimulatedYard) -> None:
    yard.schedule("a", DRAINING)
    yard.deploy(Deployment("resnet", "production", replicas=0))
    yard.settle()
    assert nodes_of(yard) == []


PLACES = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cores=PLACES, wishes=st.lists(st.integers(0, 4), min_size=1, max_size=3), data=st.data())
def test_a_drained_node_ends_empty_where_the_rest_has_room_and_no_replica_is_missed(
    cores: list[int], wishes: list[int], data: st.DataObject
) -> None:
    yard = SimulatedYard(*(SimulatedNode(f"n{i}", cores=n, memory_bytes=99 * GIB) for i, n in enumerate(cores)))
    for number, replicas in enumerate(wishes):
        yard.set_alias(f"m{number}", 1)
        yard.deploy(Deployment(f"m{number}", "production", replicas=replicas))
    yard.settle()
    served = {model: len(yard.running(model)) for model in (f"m{number}" for number in range(len(wishes)))}
    drained = data.draw(st.sampled_from(sorted(yard.nodes)))
    yard.schedule(drained, DRAINING)
    deeds: list[Callable[[], object]] = [yard.control, yard.obey, yard.route]
    for _ in range(data.draw(st.integers(0, 25))):
        data.draw(st.sampled_from(deeds))()
        check_none_missed(yard, served)
    for _ in range(10):
        yard.step()
        check_none_missed(yard, served)
    yard.settle()
    room = sum(node.cores for node in yard.nodes.values() if node.name != drained)
    if room >= sum(wishes):
        assert drained not in nodes_of(yard)
        assert yard.nodes[drained].observed == {}


def check_none_missed(yard: SimulatedYard, served: dict[str, int]) -> None:
    """What is routed runs, and is no fewer than before."""
    observed = {name: seen.state for node in yard.nodes.values() for name, seen in node.observed.items()}
    for model, count in served.items():
        endpoints = yard.endpoints_of(model) if count else []
        assert len(endpoints) >= count
        assert all(observed[endpoint] is ReplicaState.READY for endpoint in endpoints)
