"""The controller is killed, stopped and started again; nodes go for good."""

import asyncio
import sys
from pathlib import Path

import pytest
from grpc import StatusCode

from modelyard.v1 import agent_pb2
from modelyard.v1.resources_pb2 import DeploymentStatus
from tests.integration.controller.fakes import FakeAgent, FakeRouter, ObedientAgent, ObedientRouter
from tests.integration.controller.yard import ControllerUnderTest, Stubs, eventually


async def serve(yard: Stubs, replicas: int = 2, node: str = "a") -> tuple[FakeAgent, FakeRouter]:
    await yard.set_alias(await yard.register())
    agent, router = await FakeAgent.join(yard.channel, node), await FakeRouter.join(yard.channel)
    await agent.until(lambda: agent.generations)
    await yard.deploy("replicas", replicas=replicas)
    await agent.until(lambda: len(agent.desired) == replicas)
    await agent.report()
    await router.until(lambda: len(router.endpoints("resnet")) == replicas)
    await router.apply()
    return agent, router


async def test_after_kill_9_routes_and_replicas_are_what_they_were(controller: ControllerUnderTest) -> None:
    async with controller.connect() as yard:
        agent, router = await serve(yard)
        controller.program.kill()
    await controller.restart()
    async with controller.connect() as yard:
        again = await FakeRouter.join(yard.channel, applied=router.table.version)
        await again.until(lambda: again.table.version)
        assert again.table == router.table  # though no node has connected yet
        same = await FakeAgent.join(yard.channel, observed=agent.observed)
        await same.until(lambda: same.generations)
        assert same.desired == agent.desired
        assert same.generations[0] > agent.generations[-1]
        await same.send(same.generations[-1])
        assert (await yard.deployment()).status.state == DeploymentStatus.READY
        assert again.table == router.table


@pytest.mark.slow
async def test_a_version_change_goes_on_after_kill_9_in_its_middle(patient: ControllerUnderTest) -> None:
    controller = patient  # else a router that comes back half a second late finds the old replica gone
    async with controller.connect() as yard:
        agent, router = await serve(yard, replicas=1)
        old = set(agent.desired)
        await yard.set_alias(await yard.register(factor=2.0))
        await agent.until(lambda: len(agent.desired) == 2)
        await agent.report()
        await router.until(lambda: router.route("resnet").version == 2)
        controller.program.kill()  # the old replica is retired, and the router has not followed
    await controller.restart()
    async with controller.connect() as yard:
        late = await FakeRouter.join(yard.channel, applied=router.table.version - 1)
        same = await FakeAgent.join(yard.channel, observed=agent.observed)
        await same.until(lambda: same.generations)
        await late.until(lambda: late.route("resnet").version == 2)
        assert old <= set(same.desired)
        await late.apply()
        await same.until(lambda: not old & set(same.desired))
        await same.report()
        await eventually(lambda: has_replicas(yard, 1))


async def has_replicas(yard: Stubs, count: int) -> bool:
    return len((await yard.status()).replicas) == count


@pytest.mark.slow
@pytest.mark.timeout(300)  # it starts the controller five times
async def test_killed_at_any_moment_it_goes_on_to_what_is_wished(controller: ControllerUnderTest) -> None:
    observed: dict[str, agent_pb2.ObservedReplica] = {}
    applied = 0
    for kill, replicas in enumerate((1, 3, 2, 1)):
        async with controller.connect() as yard:
            router = await ObedientRouter.join(yard.channel, applied=applied)
            agent = await ObedientAgent.join(yard.channel, observed=observed)
            await yard.set_alias(await yard.register(factor=float(kill + 1)))
            await yard.deploy("replicas", replicas=replicas)
            if kill % 2:
                await agent.until_told()
            controller.program.kill()  # somewhere between the wish and its fulfilment
            observed, applied = agent.observed, router.table.version
        await controller.restart()
    async with controller.connect() as yard:
        router = await ObedientRouter.join(yard.channel, applied=applied)
        agent = await ObedientAgent.join(yard.channel, observed=observed)
        await eventually(lambda: has_replicas(yard, 1))
        # Both may be empty at first: what is there comes with the version that is wished.
        await router.until(
            lambda: router.route("resnet").version == 4 and router.endpoints("resnet") == list(agent.desired)
        )
        assert (await yard.deployment()).status.state == DeploymentStatus.READY


@pytest.mark.slow
async def test_replicas_of_a_lost_node_come_up_on_another(yard: Stubs) -> None:
    agent, router = await serve(yard)
    other = await FakeAgent.join(yard.channel, "b", instance="2")
    await other.until(lambda: other.generations)
    before = set(router.endpoints("resnet"))
    await agent.leave()
    await eventually(lambda: is_away(yard, "a"))
    assert set(router.endpoints("resnet")) == before  # away is not lost
    await other.until(lambda: len(other.desired) == 2)
    await other.report()
    await router.until(lambda: set(router.endpoints("resnet")) == set(other.desired))

    back = await FakeAgent.join(yard.channel, "a", observed=agent.observed)
    await router.apply()
    await back.until(lambda: back.generations and back.desired == {})


async def is_away(yard: Stubs, node: str) -> bool:
    return any(found.node == node and not found.connected for found in (await yard.status()).nodes)


async def test_a_stop_ends_streams_so_that_they_connect_again_and_leaves_no_error(
    controller: ControllerUnderTest, yard: Stubs
) -> None:
    agent, router = await serve(yard)
    assert controller.program.stop() == 0
    for peer in (agent, router):
        error = await peer.ended
        assert error is not None
        assert error.code() is StatusCode.UNAVAILABLE
    assert "Traceback" not in controller.program.log_tail(1 << 20)


async def test_a_second_controller_on_the_same_data_is_refused_by_name(
    controller: ControllerUnderTest, tmp_path: Path
) -> None:
    words = await run_refused("127.0.0.1:0", tmp_path / "data")
    assert f"is in use by another controller, process {controller.program.pid} (" in words


async def test_a_port_that_is_taken_is_refused_in_a_sentence(controller: ControllerUnderTest, tmp_path: Path) -> None:
    words = await run_refused(controller.address, tmp_path / "other")
    assert f"the controller cannot listen on {controller.address}: something else does" in words


async def run_refused(listen: str, data: Path) -> str:
    """What a controller that cannot start says."""
    command = [sys.executable, "-m", "controlplane", "--listen", listen, "--data", str(data)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, words = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"Traceback" not in words
    return words.decode()
