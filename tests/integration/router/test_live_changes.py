"""Changes and deaths under load cost no request."""

import asyncio
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

_REQUESTS = [
    service_pb2.ModelInferRequest(model_name="m"),
    service_pb2.ModelInferRequest(model_name="m", model_version="production"),
]


def _routes(pool: str) -> dict[str, str]:
    return {"m": pool, "m@production": pool}


async def test_replicas_come_and_go(running_router: Any, controller: Any, backends: Any, load: Any) -> None:
    one, two, three = await backends("one", "two", "three")
    routes = _routes("m/production@1")
    await controller.apply(1, pools={"m/production@1": [one]}, routes=routes)
    async with load(running_router.address, _REQUESTS) as running:
        for round_ in range(5):
            await controller.apply(2 + 2 * round_, pools={"m/production@1": [one, two, three]}, routes=routes)
            await running.reach(running.total + 300)
            await controller.apply(3 + 2 * round_, pools={"m/production@1": [one]}, routes=routes)
            # Applied means: nothing new goes to what has left. What was asked for before may come a moment later.
            await running.turn_over()
            before = two.counts.total()
            await running.reach(running.total + 300)
            assert two.counts.total() == before
    assert running.errors == []
    assert running.answers.keys() == {"one", "two", "three"}


async def test_an_alias_moves_to_another_version(
    running_router: Any, controller: Any, backends: Any, load: Any
) -> None:
    old, new = await backends("old", "new")
    pools = {"m/production@1": [old], "m/production@2": [new]}
    await controller.apply(1, pools={"m/production@1": [old]}, routes=_routes("m/production@1"))
    async with load(running_router.address, _REQUESTS) as running:
        for round_ in range(10):
            # A wholly new cluster, the switch, and the old one gone, in one table.
            name = list(pools)[(round_ + 1) % 2]
            await controller.apply(2 + round_, pools={name: pools[name]}, routes=_routes(name))
            await running.reach(running.total + 200)
    assert running.errors == []
    assert running.answers.keys() == {"old", "new"}


async def test_the_python_part_is_killed_and_adopts_envoy_again(
    running_router: Any, controller: Any, backends: Any, load: Any
) -> None:
    old, new = await backends("old", "new")
    await controller.apply(1, pools={"m/production@1": [old]}, routes=_routes("m/production@1"))
    envoy = running_router.envoys
    async with load(running_router.address, _REQUESTS) as running:
        await running_router.kill()
        await running.reach(running.total + 500)
        # While it is away the deployment moves: Envoy's clusters are then known only to Envoy.
        controller.set_table(2, pools={"m/production@2": [new]}, routes=_routes("m/production@2"))
        await running_router.start()
        await running.wait_for_answer("new")
        await running.reach(running.total + 500)
    assert running_router.envoys == envoy
    assert running.errors == []
    await controller.apply(3, routes={})


@pytest.mark.slow
async def test_the_python_part_is_killed_in_the_middle_of_pushes(
    running_router: Any, controller: Any, backends: Any, load: Any
) -> None:
    old, new = await backends("old", "new")
    pools = {"m/production@1": [old], "m/production@2": [new]}
    await controller.apply(1, pools={"m/production@1": [old]}, routes=_routes("m/production@1"))
    async with load(running_router.address, _REQUESTS) as running:
        for round_ in range(4):
            name = list(pools)[(round_ + 1) % 2]
            controller.set_table(2 + round_, pools={name: pools[name]}, routes=_routes(name))
            await asyncio.sleep(0.002 * round_)
            await running_router.kill()
            await running.reach(running.total + 100)
            await running_router.start()
            await running.reach(running.total + 100)
    assert running.errors == []


async def test_envoy_is_replaced_without_a_gap_when_it_must_be_started_otherwise(
    router: Any, controller: Any, backends: Any, load: Any
) -> None:
    (backend,) = await backends("one")
    await router.start()
    await controller.apply(1, pools={"m/production@1": [backend]}, routes=_routes("m/production@1"))
    (before,) = router.envoys
    async with load(router.address, _REQUESTS) as running:
        await router.kill()
        router.arguments = ("--concurrency", "1")
        await router.start()
        await running.wait_for(lambda: before not in router.envoys)
        await running.reach(running.total + 300)
    assert running.errors == []
    assert len(router.envoys) == 1


async def test_a_killed_envoy_is_started_again(running_router: Any, controller: Any, backends: Any, load: Any) -> None:
    (backend,) = await backends("one")
    await controller.apply(1, pools={"m/production@1": [backend]}, routes=_routes("m/production@1"))
    (envoy,) = running_router.envoys
    async with load(running_router.address, _REQUESTS) as running:
        envoy.kill()
        await running.wait_for(lambda: running.errors)
        answered = running.answers.total()
        await running.wait_for(lambda: running.answers.total() > answered + 300)
    assert all(error.startswith("UNAVAILABLE") for error in running.errors)
    await controller.apply(2, routes={})


async def test_a_dead_replica_costs_no_request(running_router: Any, controller: Any, backends: Any, load: Any) -> None:
    one, two, three = await backends("one", "two", "three")
    for backend in (one, two, three):
        backend.delay_s = 0.005
    table = {"pools": {"m/production@1": [one, two, three]}, "routes": _routes("m/production@1")}
    await controller.apply(1, **table)
    async with load(running_router.address, _REQUESTS) as running:
        await two.stop()
        await running.reach(running.total + 2000)
    assert running.errors == []


@pytest.mark.parametrize("content", [None, b"\xff\xff\xff"])
async def test_a_lost_table_costs_no_request_while_the_controller_is_away(
    running_router: Any, controller: Any, backends: Any, load: Any, content: bytes | None
) -> None:
    (old, new) = await backends("old", "new")
    await controller.apply(1, pools={"m/production@1": [old]}, routes=_routes("m/production@1"))
    stored = running_router.data / "route_table.binpb"
    envoys = running_router.envoys
    async with load(running_router.address, _REQUESTS) as running:
        await controller.stop()
        await running_router.kill()
        stored.unlink() if content is None else stored.write_bytes(content)
        await running_router.start()
        await running.reach(running.total + 500)
        controller.set_table(2, pools={"m/production@2": [new]}, routes=_routes("m/production@2"))
        await controller.start()
        await running.wait_for_answer("new")
        await running.reach(running.total + 100)
    assert running.errors == []
    assert running_router.envoys == envoys


async def test_the_controller_is_away_and_comes_back_counting_from_one(
    running_router: Any, controller: Any, backends: Any, load: Any
) -> None:
    (backend,) = await backends("one")
    table = {"pools": {"m/production@1": [backend]}, "routes": _routes("m/production@1")}
    await controller.apply(7, **table)
    async with load(running_router.address, _REQUESTS) as running:
        await controller.stop()
        await running.reach(running.total + 300)
        await running_router.kill()
        await running_router.start()  # from its own table
        await running.reach(running.total + 300)
        controller.table = None
        await controller.start()
        await controller.apply(1, **table)
        await running.reach(running.total + 100)
    assert running.errors == []
    assert controller.hellos[-1].address == running_router.address
