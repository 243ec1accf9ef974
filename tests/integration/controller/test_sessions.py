"""Who may connect, and what happens to a stream that breaks the rules or is replaced."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelyard.v1 import agent_pb2, agent_pb2_grpc, resources_pb2
from tests.integration.controller.fakes import FakeAgent, FakePeer, FakeRouter
from tests.integration.controller.yard import ControllerUnderTest, Stubs, eventually


@pytest.fixture
async def yard(shared: ControllerUnderTest) -> AsyncIterator[Stubs]:
    async with shared.connect() as stubs:
        yield stubs


async def refusal(peer: FakePeer) -> tuple[StatusCode, str]:
    error = await peer.ended
    assert error is not None
    return error.code(), error.details() or ""


async def test_a_second_agent_of_the_same_name_is_told_which_one_has_it(yard: Stubs) -> None:
    first = await FakeAgent.join(yard.channel, "twin", instance="one")
    await first.until(lambda: first.generations)
    code, details = await refusal(await FakeAgent.join(yard.channel, "twin", instance="two"))
    assert code is StatusCode.ALREADY_EXISTS
    assert "node twin is connected already, by the agent at 127.0.0.1 (instance one)" in details
    await first.leave()
    await eventually(lambda: is_away(yard, "twin"))
    third = await FakeAgent.join(yard.channel, "twin", instance="two")
    await third.until(lambda: third.generations)


async def is_away(yard: Stubs, node: str) -> bool:
    return any(found.node == node and not found.connected for found in (await yard.status()).nodes)


async def test_the_same_agent_connecting_anew_replaces_its_old_stream(yard: Stubs) -> None:
    first = await FakeAgent.join(yard.channel, "again")
    await first.until(lambda: first.generations)
    second = await FakeAgent.join(yard.channel, "again")
    await second.until(lambda: second.generations)
    assert second.generations[-1] == first.generations[-1]  # the same set, sent again
    assert (await refusal(first))[0] is StatusCode.ABORTED
    assert not await is_away(yard, "again")


async def test_a_generation_is_more_than_the_node_has_ever_answered(yard: Stubs) -> None:
    call = agent_pb2_grpc.AgentServiceStub(yard.channel).Session()
    far = 1 << 52
    hello = agent_pb2.AgentHello(node="far", instance_id="1", address="::1")
    hello.resources.CopyFrom(resources_pb2.NodeResources(cores=[0], memory_bytes=1))
    hello.observed.generation = far
    await call.write(agent_pb2.SessionRequest(hello=hello))
    assert (await call.read()).desired.generation > far
    call.cancel()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"node": "../x"}, "cannot be the name of a node"),
        ({"address": "somewhere"}, "'somewhere' is not an IP address"),
        ({"address": "0.0.0.0"}, "no router can reach 0.0.0.0"),
        ({"cores": 0}, "at least one core"),
    ],
)
async def test_an_agent_that_no_replica_could_run_on_is_refused(
    yard: Stubs, changes: dict[str, Any], sentence: str
) -> None:
    code, details = await refusal(await FakeAgent.join(yard.channel, **{"node": "bad", **changes}))
    assert code is StatusCode.INVALID_ARGUMENT
    assert sentence in details


async def test_a_stream_begins_with_hello(yard: Stubs) -> None:
    peer = FakeAgent(yard.channel)
    await peer.call.write(agent_pb2.SessionRequest(observed=agent_pb2.ObservedState()))
    code, details = await refusal(peer)
    assert code is StatusCode.INVALID_ARGUMENT
    assert "the first message must be the hello" in details


async def test_a_second_router_of_the_same_id_is_told_where_the_first_is(yard: Stubs) -> None:
    first = await FakeRouter.join(yard.channel, "door")
    await first.until(lambda: first.table.version)
    code, details = await refusal(await FakeRouter.join(yard.channel, "door", address="127.0.0.1:9999"))
    assert code is StatusCode.ALREADY_EXISTS
    assert "router door is connected already, at 127.0.0.1:8001" in details
    again = await FakeRouter.join(yard.channel, "door")
    await again.until(lambda: again.table.version)
    assert (await refusal(first))[0] is StatusCode.ABORTED


async def test_health_is_told_for_each_service(yard: Stubs) -> None:
    stub: Any = health_pb2_grpc.HealthStub(yard.channel)
    for name in ("", "modelyard.v1.AgentService", "modelyard.v1.RegistryService"):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_bytes_that_are_no_message_hurt_nobody(yard: Stubs) -> None:
    channel: Any = yard.channel
    with pytest.raises(aio.AioRpcError):
        await channel.unary_unary("/modelyard.v1.RegistryService/GetModel")(b"\xff\xff\xff")
    assert (await yard.status()).route_table_version > 0
