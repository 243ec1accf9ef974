"""RoutingService: a router's session."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from controlplane.servicers.route_converters import table_to_proto
from controlplane.sessions.routers import RouterSessions
from controlplane.sessions.stream import converse, on_end, read_hello
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import routing_pb2 as pb
from modelyard.v1 import routing_pb2_grpc


class RoutingServicer(routing_pb2_grpc.RoutingServiceServicer):
    def __init__(self, routers: RouterSessions) -> None:
        self._routers = routers

    async def WatchRoutes(
        self, request_iterator: AsyncIterator[pb.WatchRoutesRequest], context: Any
    ) -> AsyncIterator[pb.WatchRoutesResponse]:
        hello: pb.RouterHello = await read_hello(request_iterator)
        if not hello.router_id:
            raise InvalidArgumentError("the router gave no router_id: give it a --router-id")
        router_id, status = hello.router_id, hello.status
        mailbox = self._routers.register(router_id, hello.address, status.applied_version, status.error)
        on_end(context, lambda: self._routers.disconnect(router_id, mailbox))

        def receive(request: pb.WatchRoutesRequest) -> None:
            if request.WhichOneof("message") != "status":
                raise InvalidArgumentError("after the hello, each message must carry the router's status")
            self._routers.report(router_id, mailbox, request.status.applied_version, request.status.error)

        async with aclosing(converse(request_iterator, receive, mailbox)) as messages:
            async for table in messages:
                yield pb.WatchRoutesResponse(table=table_to_proto(table))
