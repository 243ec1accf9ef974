"""Logs of replicas on their way from an agent to whoever reads them: a node has no open port to ask at.

A reader's call opens a relay and has the node told of it; the agent answers with a call of its own, which claims the
relay by its id. Few pieces lie in a relay at once: a slow reader slows the agent down, which reads from its disk.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from modelyard.errors import NotFoundError, ResourceExhaustedError, UnavailableError, YardError

_MOST_PIECES = 4
_MOST_OF_NODE = 16
_MOST_IN_ALL = 128


@dataclass(frozen=True)
class LogQuery:
    """Which part of a replica's log somebody wants to read. `tail_lines` 0: all that is kept."""

    replica_id: str
    tail_lines: int = 0
    follow: bool = False
    previous: bool = False


@dataclass(frozen=True)
class LogRequest:
    """A query as its node is told of it."""

    request_id: str
    query: LogQuery


@dataclass(frozen=True)
class _End:
    error: YardError | None


class LogRelay:
    """One log under way. `reader_left` is set when nobody wants it any more."""

    def __init__(self, node: str, request: LogRequest) -> None:
        self.node = node
        self.request = request
        self.claimed = False
        self.reader_left = asyncio.Event()
        self._begun = asyncio.Event()
        self._ended = False
        self._pieces: asyncio.Queue[bytes | _End] = asyncio.Queue()
        self._room = asyncio.Semaphore(_MOST_PIECES)

    def claim(self) -> None:
        self.claimed = True
        self._begun.set()

    async def put(self, piece: bytes) -> None:
        """Waits for as long as the reader is behind."""
        await self._room.acquire()
        self._pieces.put_nowait(piece)

    def end(self, error: YardError | None = None) -> None:
        """Only the first call counts. What was put before it is read before it."""
        if not self._ended:
            self._ended = True
            self._begun.set()
            self._pieces.put_nowait(_End(error))

    async def read(self, answer_timeout_s: float) -> AsyncGenerator[bytes, None]:
        """Until its end; raises the error of that. UnavailableError where no agent claims it in time."""
        try:
            async with asyncio.timeout(answer_timeout_s):
                await self._begun.wait()
        except TimeoutError:
            raise UnavailableError(
                f"the agent of node {self.node} did not send the log within {answer_timeout_s:g} s: try again later"
            ) from None
        while not isinstance(piece := await self._pieces.get(), _End):
            self._room.release()
            yield piece
        if piece.error:
            raise piece.error


class LogRelays:
    """All that are under way. Used by the event loop only."""

    def __init__(self) -> None:
        self._relays: dict[str, LogRelay] = {}
        self._is_closed = False

    def open(self, node: str, query: LogQuery) -> LogRelay:
        """To be given back by `drop`. Raises ResourceExhaustedError, UnavailableError."""
        if self._is_closed:
            raise _make_stopping_error()
        self._check_room(node)
        relay = LogRelay(node, LogRequest(secrets.token_hex(16), query))
        self._relays[relay.request.request_id] = relay
        return relay

    def _check_room(self, node: str) -> None:
        of_node = Counter(relay.node for relay in self._relays.values())[node]
        if of_node >= _MOST_OF_NODE:
            raise ResourceExhaustedError(f"{of_node} logs of node {node} are being read already: end one of them first")
        if len(self._relays) >= _MOST_IN_ALL:
            raise ResourceExhaustedError(f"{_MOST_IN_ALL} logs are being read already: end one of them first")

    def claim(self, request_id: str) -> LogRelay:
        """By the agent that was asked, once. Raises NotFoundError where nobody waits for it, or not any more."""
        relay = self._relays.get(request_id)
        if relay is None or relay.claimed:
            raise NotFoundError("nobody waits for this log any more")
        relay.claim()
        return relay

    def drop(self, relay: LogRelay) -> None:
        """Its reader has gone."""
        relay.reader_left.set()
        self._relays.pop(relay.request.request_id, None)

    def close(self) -> None:
        """Ends all: their readers learn that the controller stops."""
        self._is_closed = True
        for relay in self._relays.values():
            relay.end(_make_stopping_error())


def _make_stopping_error() -> UnavailableError:
    return UnavailableError("the controller is stopping; try again soon")
