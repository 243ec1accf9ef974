"""Sends logs to the controller, each in a call of its own: nobody can connect to a node to read them."""

import asyncio
import contextlib
import logging
from contextlib import aclosing
from typing import Any

from grpc import aio

from modelyard.errors import YardError
from modelyard.v1 import agent_pb2, agent_pb2_grpc
from nodeagent.log_reader import FindFolder, read_log

log = logging.getLogger(__name__)


class LogSender:
    def __init__(self, channel: aio.Channel, find: FindFolder, find_ended: FindFolder) -> None:
        self._stub = agent_pb2_grpc.AgentServiceStub(channel)
        self._find = find
        self._find_ended = find_ended
        self._sending: set[asyncio.Task[None]] = set()

    def send(self, request: agent_pb2.LogRequest) -> None:
        """Returns at once; goes on until the log ends, or nobody reads it any more."""
        task = asyncio.create_task(self._send(request))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self, grace_s: float = 0.0) -> None:
        """Cuts off all that is being sent, and has not come to its end after `grace_s` seconds."""
        sending = list(self._sending)
        if sending and grace_s:
            await asyncio.wait(sending, timeout=grace_s)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    async def _send(self, request: agent_pb2.LogRequest) -> None:
        call = self._stub.SendLog()
        sending = asyncio.create_task(self._write(call, request))
        # Nothing may be left to write for hours: without this the end of the call would not be noticed for so long.
        call.add_done_callback(lambda _: sending.cancel())
        try:
            await sending
        except (asyncio.CancelledError, asyncio.InvalidStateError, aio.AioRpcError) as error:
            log.debug("the log of %s goes no further: %r", request.replica_id, error)
            if not call.done():
                raise
        finally:
            sending.cancel()
            call.cancel()

    async def _write(self, call: Any, request: agent_pb2.LogRequest) -> None:
        await call.write(agent_pb2.SendLogRequest(request_id=request.request_id))
        await call.write(agent_pb2.SendLogRequest(error=await self._write_pieces(call, request)))
        await call.done_writing()
        with contextlib.suppress(aio.AioRpcError):
            await call

    async def _write_pieces(self, call: Any, request: agent_pb2.LogRequest) -> str:
        """Why there is no more of it; "" where that was all."""
        try:
            async with aclosing(read_log(self._find, self._find_ended, request)) as pieces:
                async for piece in pieces:
                    await call.write(agent_pb2.SendLogRequest(chunk=piece))
        except YardError as error:
            return error.message
        except OSError as error:
            return f"the log of {request.replica_id} cannot be read: {error}"
        return ""
