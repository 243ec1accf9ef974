"""Which failures of a replica are its own, and what becomes of the requests that met them."""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from grpc import aio
from tritonclient.grpc import service_pb2

# The tests share an Envoy, which goes on counting what becomes of a model's requests: each has a model of its own.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    return f"m{zlib.crc32(request.node.name.encode())}"


async def _serve(shared: Any, model: str, replicas: Sequence[Any]) -> None:
    await shared.apply(pools={f"{model}/production@1": replicas}, routes={model: f"{model}/production@1"})


def _infer(name: str, **fields: Any) -> service_pb2.ModelInferRequest:
    return service_pb2.ModelInferRequest(model_name=name, **fields)


async def _status_of(call: Any) -> str:
    try:
        await call
    except aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


@pytest.mark.parametrize("status", ["INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DATA_LOSS", "RESOURCE_EXHAUSTED"])
async def test_a_model_that_fails_for_one_client_stays_for_the_others(
    shared: Any, shared_backends: Any, model: str, status: str
) -> None:
    """Were it ejected, a client with a bad request would take one healthy replica after the other away."""
    failing, well = await shared_backends("failing", "well")
    failing.status = grpc.StatusCode[status]
    await _serve(shared, model, [failing, well])
    while failing.counts.total() <= 15:  # chance sends it one request of two, so that no number of them is sure to do
        await _status_of(shared.stub.ModelInfer(_infer(model)))
    assert await _count_ejections(shared, model) == 0


async def test_a_replica_that_says_unavailable_is_left_out(shared: Any, shared_backends: Any, model: str) -> None:
    sick, well = await shared_backends("sick", "well")
    sick.status = grpc.StatusCode.UNAVAILABLE
    await _serve(shared, model, [sick, well])
    for _ in range(60):
        assert (await shared.stub.ModelInfer(_infer(model))).id == "well"
    assert await _count_ejections(shared, model) > 0


async def test_a_replica_that_is_gone_is_left_out(shared: Any, shared_backends: Any, model: str) -> None:
    gone, well = await shared_backends("gone", "well")
    await gone.stop()
    await _serve(shared, model, [gone, well])
    for _ in range(60):
        assert (await shared.stub.ModelInfer(_infer(model))).id == "well"
    assert await _count_ejections(shared, model) > 0


async def test_no_retries_where_a_request_may_have_run(shared: Any, shared_backends: Any) -> None:
    failing, careful = await shared_backends("failing", "careful")
    failing.status = careful.status = grpc.StatusCode.UNAVAILABLE
    await shared.apply(
        pools={"m/production@1": [failing], "n/production@1": [careful]},
        routes={"m": "m/production@1", "n": "n/production@1"},
        no_retries=("n/production@1",),
    )
    assert await _status_of(shared.stub.ModelInfer(_infer("m"))) == "UNAVAILABLE"
    assert await _status_of(shared.stub.ModelInfer(_infer("n"))) == "UNAVAILABLE"
    assert failing.counts["ModelInfer"] == 3
    assert careful.counts["ModelInfer"] == 1


@pytest.mark.parametrize("named_by", ["message", "header"])
@pytest.mark.parametrize(("size_bytes", "status"), [(200 << 10, "OK"), (300 << 10, "UNAVAILABLE")])
async def test_a_request_is_kept_for_a_retry_up_to_the_limit(
    *, shared: Any, shared_backends: Any, wait_for: Any, model: str, named_by: str, size_bytes: int, status: str
) -> None:  # fmt: skip
    """The replica that has it dies before it answers."""
    pair = await shared_backends("one", "two")
    for backend in pair:
        backend.delay_s = 60.0
    await _serve(shared, model, pair)
    request = _infer(model, raw_input_contents=[bytes(size_bytes)])
    metadata = (("x-model", model),) if named_by == "header" else None
    call = asyncio.create_task(_status_of(shared.stub.ModelInfer(request, metadata=metadata)))
    await wait_for(lambda: any(backend.counts.total() for backend in pair))
    dying, other = sorted(pair, key=lambda backend: -backend.counts.total())
    other.delay_s = 0.0
    await dying.stop()
    assert await call == status
    assert other.counts.total() == (1 if status == "OK" else 0)
    # Were requests of any size kept, or none, one of the two would be wrong.
    abandoned = await shared.router.read_stats(f"cluster.{model}.*retry_or_shadow_abandoned")
    assert sum(abandoned.values()) == (0 if status == "OK" else 1)


async def _count_ejections(shared: Any, model: str) -> int:
    return sum((await shared.router.read_stats(f"cluster.{model}.*ejections_enforced_total")).values())
