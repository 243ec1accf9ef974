"""The xDS servicer: feeds `AdsStream` from the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from grpc import aio

from router.ads.hub import Hub
from router.ads.stream import AdsStream

_SETTLE_S = 0.3  # an Envoy that comes back asks for everything at once, within milliseconds


class AdsServicer(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):  # type: ignore[misc]
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def StreamAggregatedResources(  # noqa: N802
        self, requests: AsyncIterator[discovery_pb2.DiscoveryRequest], context: Any
    ) -> AsyncIterator[discovery_pb2.DiscoveryResponse]:
        wake = asyncio.Event()
        stream = self._hub.open_stream(wake.set)
        reading = asyncio.create_task(_read(requests, self._hub, stream, wake))
        reading.add_done_callback(lambda _: wake.set())
        try:
            while not reading.done():
                wake.clear()
                while response := stream.next_response():
                    yield response
                self._hub.handle_progress()
                await _wait(wake, stream)
        finally:
            self._hub.close_stream(stream)
            reading.cancel()


async def _read(
    requests: AsyncIterator[discovery_pb2.DiscoveryRequest], hub: Hub, stream: AdsStream, wake: asyncio.Event
) -> None:
    async for request in requests:
        hub.handle_request(stream, request)
        wake.set()


async def _wait(wake: asyncio.Event, stream: AdsStream) -> None:
    if not stream.is_settling:
        await wake.wait()
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SETTLE_S):
            while stream.is_settling:
                await wake.wait()
                wake.clear()
    stream.settle()


def create_ads_server(hub: Hub, socket_path: str) -> aio.Server:
    """A server on a unix socket, not started: whoever can reach it sees all routes."""
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 0),  # Envoy asks every ten seconds whether this end is still there
    ]
    server = aio.server(options=options)
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(AdsServicer(hub), server)
    server.add_insecure_port(f"unix:{socket_path}")
    return server
