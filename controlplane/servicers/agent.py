"""AgentService: an agent's session, on its node's behalf."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from controlplane.servicers.agent_converters import desired_to_proto, hello_from_proto, report_from_proto
from controlplane.sessions.nodes import NodeSessions
from controlplane.sessions.stream import converse, on_end, read_hello
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import agent_pb2 as pb
from modelyard.v1 import agent_pb2_grpc


class AgentServicer(agent_pb2_grpc.AgentServiceServicer):
    def __init__(self, nodes: NodeSessions) -> None:
        self._nodes = nodes

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
            async for desired in messages:
                yield pb.SessionResponse(desired=desired_to_proto(desired))
