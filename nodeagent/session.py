"""The agent's line to the controller: kept open, opened again, whole states both ways."""

import asyncio
import contextlib
import logging
from typing import Any

import grpc
from grpc import aio

from modelyard.addresses import parse_address
from modelyard.backoff import Backoff
from modelyard.v1 import agent_pb2, agent_pb2_grpc, resources_pb2
from nodeagent.log_sender import LogSender
from nodeagent.supervisor import Supervisor

log = logging.getLogger(__name__)

_REPORT_INTERVAL_S = 5.0
_CONNECT_TIMEOUT_S = 5.0
# Where trying again helps only after a person did something.
_RETRY_REFUSED_S = 10.0
_REFUSALS = (
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
)


async def find_local_address(controller: str) -> str:
    """This host's IP address in a connection to the controller. Raises OSError where there is none to be had."""
    host, port = parse_address(controller)
    async with asyncio.timeout(_CONNECT_TIMEOUT_S):
        _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=0.25)
    try:
        return str(writer.get_extra_info("sockname")[0])
    finally:
        writer.close()


class ControllerSession:
    """`hello`: what does not change in the agent's life. `address`: of this node; "": as the controller sees it."""

    def __init__(
        self,
        controller: str,
        channel: aio.Channel,
        supervisor: Supervisor,
        logs: LogSender,
        hello: agent_pb2.AgentHello,
    ) -> None:
        # Set when the controller has answered for the first time.
        self.up = asyncio.Event()
        self._controller = controller
        self._stub = agent_pb2_grpc.AgentServiceStub(channel)
        self._supervisor = supervisor
        self._logs = logs
        self._hello = hello
        # The controller was told an earlier hello, and hears another in a new session only.
        self._is_outdated = False
        self._backoff = Backoff()
        self._is_connected = True  # said to be, so that the first loss is logged

    @property
    def address(self) -> str:
        return self._supervisor.workshop.host

    def announce(self, resources: resources_pb2.NodeResources) -> None:
        """What the node offers from now on."""
        self._hello.resources.CopyFrom(resources)
        self._is_outdated = True
        self._supervisor.changed.set()

    async def run(self) -> None:
        """Until it is cancelled. While the controller is away the replicas stay as they are."""
        while True:
            try:
                await self._converse()
                pause_s = 0.0 if self._is_outdated else self._note_away("it ended the session")
            except aio.AioRpcError as error:
                pause_s = self._note_refusal(error) if error.code() in _REFUSALS else self._note_away(error.details())
            except OSError as error:
                pause_s = self._note_away(str(error))
            await asyncio.sleep(pause_s)

    async def _converse(self) -> None:
        """One session, to its end. Raises AioRpcError, and OSError where there is no way to the controller."""
        await self._find_address()
        call = self._stub.Session()
        reporting = asyncio.create_task(self._report(call))
        reporting.add_done_callback(lambda _: call.cancel())
        try:
            async for response in call:
                self._note_connected()
                if response.HasField("log_request"):
                    self._logs.send(response.log_request)
                if response.HasField("desired"):
                    self._supervisor.set_desired(response.desired)
        finally:
            call.cancel()
            reporting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporting

    async def _find_address(self) -> None:
        workshop = self._supervisor.workshop
        workshop.host = workshop.host or await find_local_address(self._controller)

    async def _report(self, call: Any) -> None:
        """Hello, then all that is observed, at each change and at least every few seconds."""
        changed = self._supervisor.changed
        hello = agent_pb2.AgentHello(address=self.address)
        hello.MergeFrom(self._hello)
        self._is_outdated = False
        changed.clear()
        hello.observed.CopyFrom(self._supervisor.observed())
        message = agent_pb2.SessionRequest(hello=hello)
        # A write after the end of the call fails; whoever reads from it learns how it ended.
        with contextlib.suppress(asyncio.InvalidStateError, aio.AioRpcError):
            while True:
                await call.write(message)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REPORT_INTERVAL_S):
                        await changed.wait()
                changed.clear()
                if self._is_outdated:
                    await call.done_writing()
                    await asyncio.Event().wait()  # for the controller to end the session in turn
                message = agent_pb2.SessionRequest(observed=self._supervisor.observed())

    def _note_connected(self) -> None:
        if not (self._is_connected and self.up.is_set()):
            log.info("connected to the controller at %s", self._controller)
        self._backoff.reset()
        self._is_connected = True
        self.up.set()

    def _note_refusal(self, error: aio.AioRpcError) -> float:
        self._is_connected = False
        log.error("the controller at %s refuses this node: %s", self._controller, error.details())
        return _RETRY_REFUSED_S

    def _note_away(self, reason: str | None) -> float:
        """Seconds to wait before the next try."""
        if self._is_connected:
            log.warning(
                "the controller at %s cannot be reached (%s); replicas go on, and so does trying",
                self._controller,
                reason,
            )
        self._is_connected = False
        return self._backoff.next_s()
