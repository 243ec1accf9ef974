"""From a model file to a route table, with the real controller, database and wire."""

import pytest
from grpc import StatusCode, aio

from modelyard.v1 import deployments_pb2, resources_pb2
from modelyard.v1.resources_pb2 import DeploymentStatus
from tests.integration.controller.fakes import FakeAgent, FakeRouter
from tests.integration.controller.yard import RESNET, Stubs, eventually


async def serve(yard: Stubs, replicas: int = 2) -> tuple[FakeAgent, FakeRouter]:
    await yard.set_alias(await yard.register())
    agent, router = await FakeAgent.join(yard.channel), await FakeRouter.join(yard.channel)
    await agent.until(lambda: agent.generations)
    await yard.deploy("replicas", replicas=replicas)
    await agent.until(lambda: len(agent.desired) == replicas)
    await agent.report()
    await router.until(lambda: len(router.endpoints("resnet")) == replicas)
    await router.apply()
    return agent, router


async def test_a_deployment_reaches_the_node_and_its_readiness_the_router(yard: Stubs) -> None:
    number = await yard.register()
    await yard.set_alias(number)
    agent, router = await FakeAgent.join(yard.channel), await FakeRouter.join(yard.channel)
    await router.until(lambda: router.table.version)
    await agent.until(lambda: agent.generations)
    assert agent.generations[0] > 0
    deployment = await yard.deploy("replicas", "threads", replicas=1, threads=2)
    assert deployment.status.state == DeploymentStatus.PENDING
    await agent.until_told()
    [replica] = agent.desired.values()
    assert replica.version.model_id == "resnet@1"
    assert len(replica.version.sha256) == 64
    assert list(replica.allocation.cores) == [0, 1]
    assert router.route("resnet").pool == ""

    await agent.report()
    await router.until(lambda: router.endpoints("resnet"))
    [pool] = router.table.pools
    assert (pool.name, pool.version) == ("resnet/production@1", 1)
    assert [(e.address, e.port, e.weight) for e in pool.endpoints] == [("127.0.0.1", 30000, 1)]
    assert (await yard.deployment()).status.state == DeploymentStatus.READY
    status = await yard.status()
    assert [(node.node, node.free_core_slots, node.replicas) for node in status.nodes] == [("a", 2, 1)]
    assert [replica.address for replica in status.replicas] == ["127.0.0.1:30000"]
    assert status.routers[0].connected


async def test_the_old_version_stays_until_the_new_one_is_ready_and_every_router_has_followed(yard: Stubs) -> None:
    agent, router = await serve(yard)
    old = set(agent.desired)
    await yard.set_alias(await yard.register(factor=2.0))
    await agent.until(lambda: len(agent.desired) == 4)
    await agent.report(resources_pb2.REPLICA_STATE_STARTING, version=2)
    await eventually(lambda: in_state(yard, DeploymentStatus.PROGRESSING))
    assert set(router.endpoints("resnet")) == old

    await agent.report(version=2)
    await router.until(lambda: router.route("resnet").version == 2)
    assert set(router.endpoints("resnet")).isdisjoint(old)
    assert (await yard.status()).route_table_version == router.table.version
    assert old <= set(agent.desired)  # the router has not said that it follows

    await router.apply()
    await agent.until(lambda: not old & set(agent.desired))
    assert len((await yard.status()).replicas) == 4  # the node has not said that they are gone
    await agent.report()
    await eventually(lambda: has_replicas(yard, 2))
    assert (await yard.deployment()).status.state == DeploymentStatus.READY


async def in_state(yard: Stubs, state: DeploymentStatus.State) -> bool:
    return bool((await yard.deployment()).status.state == state)


async def has_replicas(yard: Stubs, count: int) -> bool:
    return len((await yard.status()).replicas) == count


async def test_a_failing_version_leaves_the_old_one_alone_and_says_why(yard: Stubs) -> None:
    agent, router = await serve(yard, replicas=1)
    await yard.set_alias(await yard.register(factor=2.0))
    await agent.until(lambda: len(agent.desired) == 2)
    await agent.report(resources_pb2.REPLICA_STATE_BACKOFF, version=2, message="it is out of tune")
    await eventually(lambda: in_state(yard, DeploymentStatus.DEGRADED))
    status = (await yard.deployment()).status
    assert (status.serving_version, status.target_version) == (1, 2)
    assert "it is out of tune; version 1 goes on serving" in status.message
    assert router.route("resnet").version == 1


async def test_undeployed_replicas_leave_the_routes_before_they_stop(yard: Stubs) -> None:
    agent, router = await serve(yard)
    await yard.deployments.DeleteDeployment(deployments_pb2.DeleteDeploymentRequest(name=RESNET))
    await router.until(lambda: not router.table.routes)
    assert len(agent.desired) == 2
    await router.apply()
    await agent.until(lambda: not agent.desired)
    await agent.report()
    await eventually(lambda: has_replicas(yard, 0))
    with pytest.raises(aio.AioRpcError) as caught:
        await yard.deployment()
    assert caught.value.code() is StatusCode.NOT_FOUND


async def test_only_the_newest_table_matters_to_a_slow_router(yard: Stubs) -> None:
    agent, router = await serve(yard)
    late = await FakeRouter.join(yard.channel, "late", address="127.0.0.1:8002")
    await late.until(lambda: late.table == router.table)
    assert len(agent.desired) == 2


async def test_a_status_never_tells_of_the_time_before_an_update(yard: Stubs) -> None:
    await serve(yard)
    deployment = await yard.deploy("replicas", replicas=3)
    assert deployment.status.state == DeploymentStatus.PROGRESSING
    assert deployment.status.message == "version 1: 2 of 3 replicas ready, 1 pending"
