"""The router's side of WatchRoutes: whole tables in, what has been applied out, for as long as the router runs."""

import asyncio
import logging
from collections.abc import AsyncIterator

from grpc import aio

from modelyard.backoff import Backoff
from modelyard.control_channel import open_control_channel
from modelyard.v1 import routing_pb2, routing_pb2_grpc
from router.state import RouterState

log = logging.getLogger(__name__)


class ControllerSession:
    def __init__(self, state: RouterState, *, controller: str, router_id: str, address: str) -> None:
        """`controller` and `address`, where clients reach this router, are "host:port"."""
        self._state = state
        self._controller = controller
        self._router_id = router_id
        self._address = address
        self._backoff = Backoff()
        self._is_following = True  # said to be, so that the first loss is logged

    async def run(self) -> None:
        """Connects again whenever the stream ends; runs until it is cancelled."""
        while True:
            try:
                await self._follow()
                self._log_loss("the controller ended it")
            except aio.AioRpcError as error:
                self._log_loss(f"{error.code().name}: {error.details()}")
            await asyncio.sleep(self._backoff.next_s())

    async def _follow(self) -> None:
        async with open_control_channel(self._controller) as channel:
            responses = routing_pb2_grpc.RoutingServiceStub(channel).WatchRoutes(self._requests())
            async for response in responses:
                if not self._is_following:
                    log.info("following the controller", extra={"controller": self._controller})
                self._backoff.reset()
                self._is_following = True
                self._state.accept_table(response.table)

    def _log_loss(self, why: str) -> None:
        """Once for each time that the controller is away, however often it is tried."""
        level = logging.WARNING if self._is_following else logging.DEBUG
        log.log(level, "no session with the controller; trying again", extra={"why": why})
        self._is_following = False

    async def _requests(self) -> AsyncIterator[routing_pb2.WatchRoutesRequest]:
        sent = self._state.status
        hello = routing_pb2.RouterHello(router_id=self._router_id, address=self._address, status=sent)
        yield routing_pb2.WatchRoutesRequest(hello=hello)
        while True:
            # Looked at before each wait: the iterator of a session that has ended may have cleared the event.
            if self._state.status != sent:
                sent = self._state.status
                yield routing_pb2.WatchRoutesRequest(status=sent)
            else:
                self._state.status_changed.clear()
                await self._state.status_changed.wait()
