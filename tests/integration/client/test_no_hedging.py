"""What gRPC does by itself, and what it does not: nobody here may rely on a second copy of a request that is slow."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

# Three copies of a request, one every 50 ms, as the service config's specification (gRFC A6) has it.
HEDGING = {"maxAttempts": 3, "hedgingDelay": "0.05s", "nonFatalStatusCodes": []}
RETRIES = {
    "maxAttempts": 3,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


class Server:
    """Each call of /slow takes several times the delay after which another copy would be sent; /sick refuses."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.port = 0

    async def slow(self, _request: bytes, _context: Any) -> bytes:
        self.calls.append("slow")
        await asyncio.sleep(0.5)
        return b""

    async def sick(self, _request: bytes, context: Any) -> bytes:
        self.calls.append("sick")
        await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return b""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    known, server = Server(), aio.server()
    handlers = {"slow": known.slow, "sick": known.sick}
    methods: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(handler) for name, handler in handlers.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", methods),))
    known.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield known
    await server.stop(None)


def open_channel(server: Server, policy: dict[str, Any]) -> Any:
    config = json.dumps({"methodConfig": [{"name": [{"service": "s"}], **policy}]})
    options = [("grpc.service_config", config), ("grpc.enable_retries", 1)]
    return aio.insecure_channel(f"127.0.0.1:{server.port}", options)


async def test_grpc_sends_no_second_copy_of_a_slow_request_though_it_is_told_to(server: Server) -> None:
    async with open_channel(server, {"hedgingPolicy": HEDGING}) as channel:
        await channel.unary_unary("/s/slow")(b"")
    assert server.calls == ["slow"]


async def test_grpc_tries_again_what_was_refused(server: Server) -> None:
    """By the same service config: that it is read at all."""
    async with open_channel(server, {"retryPolicy": RETRIES}) as channel:
        with pytest.raises(aio.AioRpcError):
            await channel.unary_unary("/s/sick")(b"")
    assert server.calls == ["sick"] * 3
