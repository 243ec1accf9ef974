"""`modelyard.Client` and `modelyard.aio.Client` against a real gRPC server, with the same expectations of both."""

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from pytest import FixtureRequest

import modelyard
from modelyard import errors

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "no replica of 'resnet' is ready", ())


class Either:
    """One of the two clients; `await client.infer(...)` works with both."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **options: Any) -> Any:
            result = getattr(self._client, name)(*arguments, **options)
            return await result if inspect.isawaitable(result) else result

        return call


@pytest.fixture(params=["threads", "asyncio"])
async def client(request: FixtureRequest, server: Any) -> AsyncIterator[Either]:
    make = modelyard.Client if request.param == "threads" else modelyard.aio.Client
    either = Either(make(server.address))
    yield either
    await either.close()


async def test_arrays_go_out_and_come_back(client: Either, server: Any) -> None:
    x = np.random.default_rng(0).random((3, 2), np.float32)
    outputs = await client.infer("resnet", x=x, inputs={"a:0": np.array([b"a", "b"], np.object_)})
    np.testing.assert_array_equal(outputs["x"], x)
    assert outputs["a:0"].tolist() == [b"a", b"b"]
    assert server.calls == ["ModelInfer"]  # nothing was asked of the model first


async def test_the_header_names_what_is_wanted_and_the_message_what_any_server_knows(
    client: Either, server: Any
) -> None:
    x = np.zeros(1, np.float32)
    await client.infer("resnet", x=x)
    await client.infer("resnet", alias="staging", x=x)
    await client.infer(model_id="resnet@3", x=x)
    named = [(request.model_name, request.model_version) for request in server.requests]
    assert named == [("resnet", ""), ("resnet", ""), ("resnet", "3")]
    assert [headers["x-model"] for headers in server.headers] == ["resnet", "resnet@staging", "resnet@3"]


async def test_python_values_take_the_type_of_the_model_which_is_asked_for_once(client: Either, server: Any) -> None:
    outputs = await client.infer("resnet", x=[[1, 2.5]], text=["a"])
    assert outputs["x"].dtype == np.float32 and outputs["text"].tolist() == [b"a"]
    await client.infer("resnet", x=[[1, 2]])
    assert server.calls == ["ModelMetadata", "ModelInfer", "ModelInfer"]


async def test_types_are_asked_for_again_after_a_refusal(client: Either, server: Any) -> None:
    await client.infer("resnet", x=[[1, 2]])
    server.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "input 'x': wanted FP64, got FP32", ())]
    with pytest.raises(errors.InvalidArgumentError, match="wanted FP64"):
        await client.infer("resnet", x=[[1, 2]])
    await client.infer("resnet", x=[[1, 2]])
    assert server.calls.count("ModelMetadata") == 2


async def test_only_the_outputs_asked_for_come_back(client: Either) -> None:
    x = np.zeros(1, np.float32)
    assert list(await client.infer("resnet", inputs={"a": x, "b": x}, outputs=["b"])) == ["b"]


async def test_unavailable_is_tried_again_and_then_told(client: Either, server: Any) -> None:
    x = np.zeros(1, np.float32)
    server.failures = [UNAVAILABLE] * 2
    await client.infer("resnet", x=x)
    assert len(server.calls) == 3
    server.failures = [UNAVAILABLE] * 3
    with pytest.raises(errors.UnavailableError, match="no replica of 'resnet' is ready"):
        await client.infer("resnet", x=x)
    assert not server.failures


async def test_nothing_is_sent_twice_where_retries_are_off_or_forbidden(client: Either, server: Any) -> None:
    x = np.zeros(1, np.float32)
    server.failures = [UNAVAILABLE]
    with pytest.raises(errors.UnavailableError):
        await client.infer("resnet", x=x, retries=0)
    code, sentence, _ = UNAVAILABLE
    server.failures = [(code, sentence, (("grpc-retry-pushback-ms", "-1"),))]
    with pytest.raises(errors.UnavailableError):
        await client.infer("resnet", x=x)
    assert len(server.calls) == 2


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL])
async def test_other_failures_are_told_at_once(client: Either, server: Any, code: grpc.StatusCode) -> None:
    server.failures = [(code, "the sentence", ())]
    with pytest.raises(errors.ERROR_BY_STATUS[code], match="the sentence"):
        await client.infer("resnet", x=np.zeros(1, np.float32))
    assert len(server.calls) == 1


@pytest.mark.parametrize("timeout_s", [0, 0.1])
async def test_a_deadline_ends_the_call(client: Either, server: Any, timeout_s: float) -> None:
    server.may_answer.clear()
    with pytest.raises(errors.DeadlineExceededError):
        await client.infer("resnet", x=np.zeros(1, np.float32), timeout_s=timeout_s)
    server.may_answer.set()


async def test_large_tensors_pass(client: Either) -> None:
    x = np.arange(2_000_000, dtype=np.float32)  # 8 MB: gRPC's own limit is 4
    np.testing.assert_array_equal((await client.infer("resnet", x=x))["x"], x)


async def test_a_yard_tells_of_its_models(client: Either, server: Any) -> None:
    metadata = await client.metadata("resnet", alias="staging")
    assert metadata.input_datatypes == {"x": "FP32", "text": "BYTES"} and metadata.inputs[0].shape == (-1, 2)
    assert [(state.name, state.state) for state in await client.models()] == [("resnet", "READY")]
    assert await client.is_ready() and await client.is_ready("resnet", version=1)
    for failure in (UNAVAILABLE, (grpc.StatusCode.NOT_FOUND, "no such model", ())):
        server.failures = [failure]
        assert not await client.is_ready("resnet")


@pytest.mark.parametrize("make", [modelyard.Client, modelyard.aio.Client])
async def test_where_nothing_listens_the_error_names_the_address(make: Callable[..., Any]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        client = Either(make(address, retries=1))
        with pytest.raises(errors.UnavailableError, match=f"nothing answers at {address}"):
            await client.infer("resnet", x=np.zeros(1, np.float32))
        with pytest.raises(errors.UnavailableError, match="nothing answers"):
            await client.is_ready("resnet")
        await client.close()


def test_one_client_serves_many_threads(server: Any) -> None:
    def ask(number: int) -> float:
        return float(yard.infer("resnet", x=np.array([number], np.float32))["x"][0])

    with modelyard.Client(server.address) as yard, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(200))) == list(range(200))


async def test_one_client_serves_many_tasks(server: Any) -> None:
    async with modelyard.aio.Client(server.address) as yard:
        replies = await asyncio.gather(*[yard.infer("resnet", x=np.array([n], np.float32)) for n in range(200)])
    assert [int(reply["x"][0]) for reply in replies] == list(range(200))


async def test_a_closed_client_says_so(client: Either) -> None:
    await client.close()
    with pytest.raises(errors.FailedPreconditionError, match="is closed"):
        await client.infer("resnet", x=np.zeros(1, np.float32))


async def test_closing_ends_the_calls_under_way(server: Any) -> None:
    server.may_answer.clear()
    x = np.zeros(1, np.float32)
    threads, tasks = modelyard.Client(server.address), modelyard.aio.Client(server.address)
    calls = [asyncio.create_task(asyncio.to_thread(threads.infer, "resnet", x=x))]
    calls.append(asyncio.create_task(tasks.infer("resnet", x=x)))
    while len(server.calls) < 2:
        await asyncio.sleep(0.01)
    threads.close()
    await tasks.close()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, errors.FailedPreconditionError)
    server.may_answer.set()
