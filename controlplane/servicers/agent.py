"""AgentService: an agent's session, on its node's behalf, and the logs that it was asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from controlplane.servicers.agent_converters import (
    desired_to_proto,
    hello_from_proto,
    log_request_to_proto,
    report_from_proto,
)
from controlplane.sessions.logs import LogRelay, LogRelays, LogRequest
from controlplane.sessions.nodes import NodeSessions
from controlplane.sessions.stream import converse, on_end, read_first, read_hello
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from modelyard.v1 import agent_pb2 as pb
from modelyard.v1 import agent_pb2_grpc


class AgentServicer(agent_pb2_grpc.AgentServiceServicer):
    def __init__(self, nodes: NodeSessions, logs: LogRelays) -> None:
        self._nodes = nodes
        self._logs = logs

    async def Session(
        self, request_iterator: AsyncIterator[pb.SessionRequest], context: Any
    ) -> AsyncIterator[pb.SessionResponse]:
        hello = hello_from_proto(await read_hello(request_iterator))
        name = hello.node.name
        mailbox = self._nodes.register(hello)
        on_end(context, lambda: self._nodes.disconnect(name, mailbox))

        def receive(request: pb.SessionRequest) -> None:
            if request.WhichOneof("message") != "observed":
                raise InvalidArgumentError("after the hello, each message must carry what is observed")
            self._nodes.observe(name, mailbox, report_from_proto(request.observed))

        async with aclosing(converse(request_iterator, receive, mailbox)) as messages:
            async for message in messages:
                if isinstance(message, LogRequest):
                    yield pb.SessionResponse(log_request=log_request_to_proto(message))
                else:
                    yield pb.SessionResponse(desired=desired_to_proto(message))

    async def SendLog(self, request_iterator: AsyncIterator[pb.SendLogRequest], context: Any) -> pb.SendLogResponse:
        first = await read_first(request_iterator, "request_id")
        relay = self._logs.claim(first.request_id if first else "")
        copying = asyncio.create_task(_copy(request_iterator, relay))
        leaving = asyncio.create_task(relay.reader_left.wait())
        try:
            await asyncio.wait((copying, leaving), return_when=asyncio.FIRST_COMPLETED)
            if copying.done():
                copying.result()
        finally:
            copying.cancel()
            leaving.cancel()
            # An agent that is killed, or its host, ends the call like this.
            relay.end(UnavailableError(f"the agent of node {relay.node} went away: the log goes no further"))
        return pb.SendLogResponse()


async def _copy(requests: AsyncIterator[pb.SendLogRequest], relay: LogRelay) -> None:
    """Until the message that ends the log; a stream that is cut off has none."""
    async for request in requests:
        if request.chunk:
            await relay.put(request.chunk)
        else:
            relay.end(FailedPreconditionError(request.error) if request.error else None)
            return
