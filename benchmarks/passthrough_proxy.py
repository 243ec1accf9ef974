"""The simplest proxy on grpc.aio, to compare a router with: raw bytes of unary requests to one upstream.

    python benchmarks/passthrough_proxy.py UPSTREAM

Prints the port that it listens on at 127.0.0.1.
"""

import asyncio
import sys
from typing import Any

import grpc
from grpc import aio

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class PassThrough(grpc.GenericRpcHandler):
    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel
        self._calls: dict[str, Any] = {}

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        call = self._calls.setdefault(method, self._channel.unary_unary(method))

        async def forward(request: bytes, context: Any) -> bytes:
            reply: bytes = await call(request, metadata=context.invocation_metadata())
            return reply

        return grpc.unary_unary_rpc_method_handler(forward)


async def main(upstream: str) -> None:
    async with aio.insecure_channel(upstream, options=_UNLIMITED) as channel:
        server = aio.server(options=_UNLIMITED)
        server.add_generic_rpc_handlers((PassThrough(channel),))
        print(server.add_insecure_port("127.0.0.1:0"), flush=True)
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
