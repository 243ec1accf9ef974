"""The controller hands logs on: it asks the agent of the node, which calls back, and ends with whichever side ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode, aio

from modelyard.v1 import agent_pb2, agent_pb2_grpc, deployments_pb2
from tests.integration.controller.fakes import WAIT_S, FakeAgent, ObedientAgent
from tests.integration.controller.yard import ControllerUnderTest, Stubs, eventually

REPLICA = "resnet-production-v1-1"


@pytest.fixture
async def yard(shared: ControllerUnderTest) -> AsyncIterator[Stubs]:
    async with shared.connect() as stubs:
        yield stubs


@pytest.fixture
async def agent(yard: Stubs) -> AsyncIterator[FakeAgent]:
    """One that runs a replica of resnet."""
    joined = await join(yard)
    yield joined
    await joined.leave()


async def join(yard: Stubs, **options: Any) -> FakeAgent:
    if not (await yard.status()).deployments:
        await yard.register()
        await yard.set_alias(1)
    await yard.deploy(replicas=1)
    agent = await ObedientAgent.join(yard.channel, **options)
    await agent.until_told()
    return agent


def read_log(yard: Stubs, replica: str = REPLICA, **options: Any) -> Any:
    return yard.cluster.ReadReplicaLog(deployments_pb2.ReadReplicaLogRequest(name=f"replicas/{replica}", **options))


async def read_all(call: Any) -> bytes:
    async with asyncio.timeout(WAIT_S):
        return b"".join([response.chunk async for response in call])


async def refusal(call: Any) -> tuple[StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await read_all(call)
    return caught.value.code(), caught.value.details() or ""


async def answer(yard: Stubs, agent: FakeAgent, *chunks: bytes) -> Any:
    """The agent's call for the request that came last, with so much sent."""
    await agent.until(lambda: agent.log_requests)
    call = agent_pb2_grpc.AgentServiceStub(yard.channel).SendLog()
    await call.write(agent_pb2.SendLogRequest(request_id=agent.log_requests[-1].request_id))
    for chunk in chunks:
        await call.write(agent_pb2.SendLogRequest(chunk=chunk))
    return call


async def test_what_the_agent_sends_reaches_the_reader(yard: Stubs, agent: FakeAgent) -> None:
    reading = asyncio.ensure_future(read_all(read_log(yard, tail_lines=5, follow=True)))
    call = await answer(yard, agent, b"one\n", b"\xff\x00two\n")
    request = agent.log_requests[-1]
    assert (request.replica_id, request.tail_lines, request.follow, request.previous) == (REPLICA, 5, True, False)
    await call.write(agent_pb2.SendLogRequest())
    await call.done_writing()
    assert await reading == b"one\n\xff\x00two\n"
    assert await call == agent_pb2.SendLogResponse()


async def test_the_agents_own_reason_reaches_the_reader(yard: Stubs, agent: FakeAgent) -> None:
    reading = asyncio.ensure_future(refusal(read_log(yard)))
    call = await answer(yard, agent)
    await call.write(agent_pb2.SendLogRequest(error="it has said nothing yet"))
    assert await reading == (StatusCode.FAILED_PRECONDITION, "it has said nothing yet")


@pytest.mark.parametrize("ends", ["cancels", "forgets its last message"])
async def test_an_agent_that_is_cut_off_is_told_of(yard: Stubs, agent: FakeAgent, ends: str) -> None:
    reader = read_log(yard, follow=True)
    call = await answer(yard, agent, b"one\n")
    assert (await reader.read()).chunk == b"one\n"
    call.cancel() if ends == "cancels" else await call.done_writing()
    with pytest.raises(aio.AioRpcError) as caught:
        await reader.read()
    code, details = caught.value.code(), caught.value.details() or ""
    assert code is StatusCode.UNAVAILABLE
    assert "the agent of node a went away" in details


async def test_a_reader_that_goes_away_ends_the_agents_call_though_nothing_is_said(
    yard: Stubs, agent: FakeAgent
) -> None:
    reader = read_log(yard, follow=True)
    call = await answer(yard, agent, b"one\n")
    assert (await reader.read()).chunk == b"one\n"
    reader.cancel()
    async with asyncio.timeout(WAIT_S):
        assert await call.code() is StatusCode.OK


async def test_a_slow_reader_holds_the_agent_up(yard: Stubs, agent: FakeAgent) -> None:
    reader = read_log(yard, follow=True)
    call, sent = await answer(yard, agent), 0

    async def send() -> None:
        nonlocal sent
        while True:
            await call.write(agent_pb2.SendLogRequest(chunk=bytes(64 << 10)))
            sent += 1

    sending = asyncio.create_task(send())

    async def stands_still() -> bool:
        before = sent
        await asyncio.sleep(0.3)
        return sent == before

    await eventually(stands_still)
    assert sent < 500
    before = sent
    for _ in range(before + 10):
        await reader.read()
    assert sent > before
    sending.cancel()
    reader.cancel()


async def test_desired_sets_go_on_beside_requests_and_none_is_lost(yard: Stubs, agent: FakeAgent) -> None:
    readers = [read_log(yard, follow=True) for _ in range(10)]
    before = len(agent.generations)
    await yard.deploy(replicas=3)
    await agent.until(lambda: len(agent.log_requests) == 10 and agent.generations[before:])
    assert len({request.request_id for request in agent.log_requests}) == 10
    for reader in readers:
        reader.cancel()


async def test_too_many_readers_are_refused_until_one_leaves(yard: Stubs, agent: FakeAgent) -> None:
    readers = [read_log(yard, follow=True) for _ in range(16)]
    await agent.until(lambda: len(agent.log_requests) == 16)
    code, details = await refusal(read_log(yard))
    assert code is StatusCode.RESOURCE_EXHAUSTED
    assert "16 logs of node a are being read already" in details
    readers[0].cancel()

    async def is_let_in() -> bool:
        readers.append(read_log(yard, follow=True))
        await asyncio.sleep(0.1)
        return len(agent.log_requests) == 17

    await eventually(is_let_in)
    for reader in readers:
        reader.cancel()


async def test_an_unknown_replica_is_answered_with_the_near_names(yard: Stubs, agent: FakeAgent) -> None:
    code, details = await refusal(read_log(yard, "resnet-prodction-v1-1"))
    assert code is StatusCode.NOT_FOUND
    assert f"did you mean {REPLICA}" in details


async def test_a_node_that_is_away_is_named(yard: Stubs, agent: FakeAgent) -> None:
    await agent.leave()

    async def is_away() -> bool:
        return not (await yard.status()).nodes[0].connected

    await eventually(is_away)
    code, details = await refusal(read_log(yard))
    assert code is StatusCode.UNAVAILABLE
    assert "node a is away" in details


async def test_an_agent_of_an_earlier_release_is_not_sent_what_it_would_misread(yard: Stubs) -> None:
    old = await join(yard, release="")
    code, details = await refusal(read_log(yard))
    assert code is StatusCode.FAILED_PRECONDITION
    assert "the agent of node a is of an earlier release" in details
    assert not old.log_requests
    await old.leave()


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (REPLICA, {}, "names no replica"),
        ("replicas/", {}, "names no replica"),
        (f"replicas/{REPLICA}", {"tail_lines": -1}, "tail_lines is -1"),
        (f"replicas/{REPLICA}", {"follow": True, "previous": True}, "nothing to follow"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    yard: Stubs, agent: FakeAgent, name: str, options: dict[str, Any], sentence: str
) -> None:
    code, details = await refusal(
        yard.cluster.ReadReplicaLog(deployments_pb2.ReadReplicaLogRequest(name=name, **options))
    )
    assert code is StatusCode.INVALID_ARGUMENT
    assert sentence in details


async def test_nobody_can_send_a_log_that_was_not_asked_for(yard: Stubs, agent: FakeAgent) -> None:
    call = agent_pb2_grpc.AgentServiceStub(yard.channel).SendLog()
    await call.write(agent_pb2.SendLogRequest(request_id="guessed"))
    async with asyncio.timeout(WAIT_S):
        assert await call.code() is StatusCode.NOT_FOUND


async def test_a_controller_that_stops_ends_its_readers_with_a_sentence(
    controller: ControllerUnderTest,
) -> None:
    async with controller.connect() as yard:
        agent = await join(yard)
        reading = asyncio.ensure_future(refusal(read_log(yard, follow=True)))
        await answer(yard, agent, b"one\n")
        stopping = asyncio.create_task(asyncio.to_thread(controller.program.stop))
        assert await reading == (StatusCode.UNAVAILABLE, "the controller is stopping; try again soon")
        assert await stopping == 0
        await agent.leave()
