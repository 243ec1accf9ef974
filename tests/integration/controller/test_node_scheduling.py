"""Nodes are cordoned, drained and opened."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio

from modelyard.v1 import deployments_pb2
from modelyard.v1.resources_pb2 import DeploymentStatus, Node, NodeScheduling
from tests.integration.controller.fakes import FakeAgent, ObedientAgent
from tests.integration.controller.yard import ControllerUnderTest, Stubs, eventually


async def schedule(yard: Stubs, node: str, state: Any, **fields: str) -> Node:
    request = deployments_pb2.UpdateNodeSchedulingRequest(name=f"nodes/{node}", state=state, **fields)
    response = await yard.cluster.UpdateNodeScheduling(request)
    found: Node = response.node
    return found


async def list_nodes(yard: Stubs) -> dict[str, Node]:
    response = await yard.cluster.ListNodes(deployments_pb2.ListNodesRequest())
    return {node.node: node for node in response.nodes}


async def test_who_cordoned_a_node_and_why_is_told_and_logged(
    controller: ControllerUnderTest, yard: Stubs, tmp_path: Path
) -> None:
    agent = await FakeAgent.join(yard.channel)
    await eventually(lambda: list_nodes(yard))
    told = await schedule(yard, "a", NodeScheduling.CORDONED, user="ada", reason="new\ndisk")
    assert (told.node, told.connected, told.scheduling.state) == ("a", True, NodeScheduling.CORDONED)
    assert (told.scheduling.user, told.scheduling.reason) == ("ada", "new\ndisk")
    assert told.scheduling.update_time.seconds
    assert (await list_nodes(yard))["a"] == told
    assert "node a is cordoned, says 'ada': 'new\\ndisk'" in (tmp_path / "controller.log").read_text()
    opened = await schedule(yard, "a", NodeScheduling.OPEN, user="bob")
    assert opened.scheduling == NodeScheduling(state=NodeScheduling.OPEN)
    await agent.leave()


async def test_a_node_that_is_cordoned_stays_so_while_nobody_hears_of_it(
    controller: ControllerUnderTest, yard: Stubs
) -> None:
    agent = await FakeAgent.join(yard.channel)
    await eventually(lambda: list_nodes(yard))
    await schedule(yard, "a", NodeScheduling.CORDONED, user="ada")
    await agent.leave()
    await asyncio.to_thread(controller.program.kill)
    await controller.restart()
    async with controller.connect() as again:
        node = (await list_nodes(again))["a"]
        assert (node.connected, node.scheduling.state) == (False, NodeScheduling.CORDONED)
        node = await schedule(again, "a", NodeScheduling.DRAINING, user="bob")
        assert (node.scheduling.state, node.scheduling.user) == (NodeScheduling.DRAINING, "bob")
        opened = await schedule(again, "a", NodeScheduling.OPEN)
        assert (opened.node, opened.scheduling.state) == ("a", NodeScheduling.OPEN)
        assert await list_nodes(again) == {}


async def test_a_drained_node_hands_its_replicas_over(yard: Stubs) -> None:
    first = await ObedientAgent.join(yard.channel, "a", instance="1")
    await yard.set_alias(await yard.register())
    await yard.deploy(replicas=2)
    await eventually(lambda: is_ready(yard))
    second = await ObedientAgent.join(yard.channel, "b", instance="2")
    await eventually(lambda: has_nodes(yard, 2))
    await schedule(yard, "a", NodeScheduling.DRAINING)
    await first.until(lambda: not first.desired)
    assert len(second.desired) == 2
    await eventually(lambda: is_ready(yard))
    await eventually(lambda: is_empty(yard, "a"))  # once its agent has said that they are gone
    await first.leave()
    await second.leave()


async def is_ready(yard: Stubs) -> bool:
    return (await yard.deployment()).status.state == DeploymentStatus.READY


async def is_empty(yard: Stubs, node: str) -> bool:
    return (await list_nodes(yard))[node].replicas == 0


async def has_nodes(yard: Stubs, count: int) -> bool:
    return len(await list_nodes(yard)) == count


@pytest.mark.parametrize(
    ("fields", "code", "sentence"),
    [
        ({"name": "nodes/gpu-host-2"}, StatusCode.NOT_FOUND, "there is no node 'gpu-host-2'; did you mean gpu-host-1?"),
        ({"name": "gpu-host-1"}, StatusCode.INVALID_ARGUMENT, "'gpu-host-1' names no node: wanted nodes/NODE"),
        ({"name": "nodes/"}, StatusCode.INVALID_ARGUMENT, "'nodes/' names no node"),
        ({"state": 0}, StatusCode.INVALID_ARGUMENT, "0 is no state of a node: wanted OPEN, CORDONED, DRAINING"),
        ({"state": 9}, StatusCode.INVALID_ARGUMENT, "9 is no state of a node"),
        ({"user": "a" * 201}, StatusCode.INVALID_ARGUMENT, "the user has 201 characters"),
        ({"reason": "a\x00"}, StatusCode.INVALID_ARGUMENT, "the reason"),
    ],
)
async def test_what_cannot_be_is_refused(yard: Stubs, fields: dict[str, Any], code: StatusCode, sentence: str) -> None:
    agent = await FakeAgent.join(yard.channel, "gpu-host-1")
    await eventually(lambda: list_nodes(yard))
    request = deployments_pb2.UpdateNodeSchedulingRequest(
        **{"name": "nodes/gpu-host-1", "state": NodeScheduling.CORDONED, **fields}
    )
    with pytest.raises(aio.AioRpcError) as caught:
        await yard.cluster.UpdateNodeScheduling(request)
    assert (caught.value.code(), sentence in (caught.value.details() or "")) == (code, True), caught.value.details()
    assert (await list_nodes(yard))["gpu-host-1"].scheduling.state == NodeScheduling.OPEN
    await agent.leave()
