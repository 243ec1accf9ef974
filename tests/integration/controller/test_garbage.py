"""Bytes that are not the request's message: every method says so, and the controller goes on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from modelyard.v1 import agent_pb2, deployments_pb2, registry_pb2, routing_pb2
from tests.integration.controller.fakes import WAIT_S, FakeAgent
from tests.integration.controller.yard import ControllerUnderTest, Stubs

GARBAGE = b"\xff\xfe no message"
FILES = (agent_pb2, deployments_pb2, registry_pb2, routing_pb2, health_pb2, reflection_pb2)
METHODS: list[MethodDescriptor] = [
    method for file in FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
]


@pytest.fixture
async def yard(shared: ControllerUnderTest) -> AsyncIterator[Stubs]:
    async with shared.connect() as stubs:
        yield stubs


def call(address: str, method: MethodDescriptor, *requests: bytes) -> list[bytes]:
    """The answers to `requests`, sent as they are. Raises grpc.RpcError.

    gRPC's blocking client, because a write of the other one that meets the end of its call puts INTERNAL over the
    status that the server sent.
    """
    kind = {True: "stream", False: "unary"}
    shape = f"{kind[method.client_streaming]}_{kind[method.server_streaming]}"
    with grpc.insecure_channel(address) as channel:
        multicallable = getattr(channel, shape)(f"/{method.containing_service.full_name}/{method.name}")
        answer = multicallable(iter(requests) if method.client_streaming else requests[0], timeout=WAIT_S)
        return list(answer) if method.server_streaming else [answer]


async def refusal(address: str, method: MethodDescriptor, *requests: bytes) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(call, address, method, *requests)
    error: Any = caught.value
    return error.code(), error.details()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
async def test_what_is_no_message_is_refused_with_a_sentence(
    shared: ControllerUnderTest, method: MethodDescriptor
) -> None:
    code, details = await refusal(shared.address, method, GARBAGE)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "the request cannot be read as the message that this method takes" in details


async def test_garbage_after_a_good_beginning_ends_the_stream(shared: ControllerUnderTest, yard: Stubs) -> None:
    agent = await FakeAgent.join(yard.channel)
    await agent.until(lambda: agent.generations)
    hello = agent_pb2.SessionRequest(hello=agent_pb2.AgentHello(node="b", address="127.0.0.1")).SerializeToString()
    header = registry_pb2.CreateVersionRequest(
        header=registry_pb2.CreateVersionRequest.Header(parent="models/m", size_bytes=9, sha256="0" * 64)
    ).SerializeToString()
    for name, first in (("AgentService.Session", hello), ("RegistryService.CreateVersion", header)):
        method = next(method for method in METHODS if method.full_name.endswith(name))
        code, _ = await refusal(shared.address, method, first, GARBAGE)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert not agent.ended.done()
    await agent.leave()


async def test_a_message_with_unknown_fields_is_taken(shared: ControllerUnderTest) -> None:
    """A newer client may send more than this controller knows."""
    method = next(method for method in METHODS if method.name == "ListModels")
    unknown_field = b"\xf8\x3f\x01"  # number 1023, varint 1
    assert len(await asyncio.to_thread(call, shared.address, method, unknown_field)) == 1
