"""Which failures of a replica are its own, and what becomes of the requests that met them."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio
from tritonclient.grpc import service_pb2

_ROUTES = {"m": "m/production@1"}


def _infer(name: str = "m", **fields: Any) -> service_pb2.ModelInferRequest:
    return service_pb2.ModelInferRequest(model_name=name, **fields)


async def _status_of(call: Any) -> str:
    try:
        await call
    except aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


@pytest.mark.parametrize("status", ["INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DATA_LOSS", "RESOURCE_EXHAUSTED"])
async def test_a_model_that_fails_for_one_client_stays_for_the_others(
    running_router: Any, controller: Any, backends: Any, stub: Any, status: str
) -> None:
    """Were it ejected, a client with a bad request would take one healthy replica after the other away."""
    failing, well = await backends("failing", "well")
    failing.status = grpc.StatusCode[status]
    await controller.apply(1, pools={"m/production@1": [failing, well]}, routes=_ROUTES)
    for _ in range(60):
        await _status_of(stub.ModelInfer(_infer()))
    assert failing.counts.total() > 15
    assert await _count_ejections(running_router) == 0


async def test_a_replica_that_says_unavailable_is_left_out(
    running_router: Any, controller: Any, backends: Any, stub: Any
) -> None:
    sick, well = await backends("sick", "well")
    sick.status = grpc.StatusCode.UNAVAILABLE
    await controller.apply(1, pools={"m/production@1": [sick, well]}, routes=_ROUTES)
    for _ in range(60):
        assert (await stub.ModelInfer(_infer())).id == "well"
    assert await _count_ejections(running_router) > 0


async def test_a_replica_that_is_gone_is_left_out(
    running_router: Any, controller: Any, backends: Any, stub: Any
) -> None:
    gone, well = await backends("gone", "well")
    await gone.stop()
    await controller.apply(1, pools={"m/production@1": [gone, well]}, routes=_ROUTES)
    for _ in range(60):
        assert (await stub.ModelInfer(_infer())).id == "well"
    assert await _count_ejections(running_router) > 0


async def test_no_retries_where_a_request_may_have_run(
    running_router: Any, backends: Any, controller: Any, stub: Any
) -> None:
    failing, careful = await backends("failing", "careful")
    failing.status = careful.status = grpc.StatusCode.UNAVAILABLE
    await controller.apply(
        1,
        pools={"m/production@1": [failing], "n/production@1": [careful]},
        routes={"m": "m/production@1", "n": "n/production@1"},
        no_retries=("n/production@1",),
    )
    assert await _status_of(stub.ModelInfer(_infer("m"))) == "UNAVAILABLE"
    assert await _status_of(stub.ModelInfer(_infer("n"))) == "UNAVAILABLE"
    assert failing.counts["ModelInfer"] == 3
    assert careful.counts["ModelInfer"] == 1


@pytest.mark.parametrize("metadata", [None, (("x-model", "m"),)])
@pytest.mark.parametrize(("size_bytes", "status"), [(200 << 10, "OK"), (300 << 10, "UNAVAILABLE")])
async def test_a_request_is_kept_for_a_retry_up_to_the_limit(
    *, running_router: Any, controller: Any, backends: Any, stub: Any, wait_for: Any, metadata: Any, size_bytes: int,
    status: str,
) -> None:  # fmt: skip
    """The replica that has it dies before it answers."""
    pair = await backends("one", "two")
    for backend in pair:
        backend.delay_s = 60.0
    await controller.apply(1, pools={"m/production@1": pair}, routes=_ROUTES)
    request = _infer(raw_input_contents=[bytes(size_bytes)])
    call = asyncio.create_task(_status_of(stub.ModelInfer(request, metadata=metadata)))
    await wait_for(lambda: any(backend.counts.total() for backend in pair))
    dying, other = sorted(pair, key=lambda backend: -backend.counts.total())
    other.delay_s = 0.0
    await dying.stop()
    assert await call == status
    assert other.counts.total() == (1 if status == "OK" else 0)
    # Were requests of any size kept, or none, one of the two would be wrong.
    abandoned = await running_router.read_stats("cluster.m.*retry_or_shadow_abandoned")
    assert sum(abandoned.values()) == (0 if status == "OK" else 1)


async def _count_ejections(router: Any) -> int:
    return sum((await router.read_stats("cluster.m.*ejections_enforced_total")).values())
