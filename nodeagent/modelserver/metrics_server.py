"""GET /metrics over HTTP/1.1, on the event loop: a scraper costs a coroutine, and a slow one nobody but itself."""

import asyncio
import contextlib
from collections.abc import Callable

from nodeagent.modelserver.metrics import Snapshot, render

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MOST_CONNECTIONS = 16
_LONGEST_HEAD_BYTES = 8192
_TIMEOUT_S = 10.0  # for a whole scrape, from the connection to the last byte


class MetricsServer:
    """Of one event loop. One answer for each connection."""

    def __init__(self, take_snapshot: Callable[[], Snapshot]) -> None:
        self._take_snapshot = take_snapshot
        self._server: asyncio.Server | None = None
        self._connections = 0
        # Answers are made in a thread; one is enough.
        self._rendering = asyncio.Lock()

    async def start(self, host: str, port: int) -> int:
        """The port that it listens on. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_LONGEST_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _MOST_CONNECTIONS:
                async with asyncio.timeout(_TIMEOUT_S):
                    writer.write(await self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError):
            pass  # its own affair
        finally:
            self._connections -= 1
            with contextlib.suppress(RuntimeError):  # the loop has ended
                writer.transport.abort()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return _response("404 Not Found", "text/plain", b"nothing but /metrics is here\n")
        if method != b"GET":
            return _response("405 Method Not Allowed", "text/plain", b"use GET\n", "Allow: GET\r\n")
        async with self._rendering:
            body = await asyncio.to_thread(render, self._take_snapshot())
        return _response("200 OK", CONTENT_TYPE, body)


def _response(status: str, content_type: str, body: bytes, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}Connection: close\r\n\r\n".encode() + body
