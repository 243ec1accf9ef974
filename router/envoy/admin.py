"""Envoy's admin interface over its unix socket."""

import asyncio
import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any, NamedTuple


class Activity(NamedTuple):
    """What clients have open at this moment."""

    connections: int
    requests: int


class Admin:
    """Every call raises OSError where Envoy does not answer in time."""

    def __init__(self, socket_path: Path, timeout_s: float = 2.0) -> None:
        self._socket_path = socket_path
        self._timeout_s = timeout_s

    async def is_ready(self) -> bool:
        """Whether it has its first configuration and its workers run."""
        return (await self._request("GET", "/ready")).strip() == "LIVE"

    async def has_listener(self) -> bool:
        return bool(json.loads(await self._request("GET", "/listeners?format=json")).get("listener_statuses"))

    async def read_activity(self) -> Activity:
        stats = await self.read_stats("^http.kserve.downstream_(cx|rq)_active$")
        connections, requests = (stats.get(f"http.kserve.downstream_{what}_active", 0) for what in ("cx", "rq"))
        return Activity(connections, requests)

    async def read_stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match the regular expression `pattern`."""
        answer: dict[str, Any] = json.loads(await self._request("GET", f"/stats?format=json&filter={pattern}"))
        return {stat["name"]: stat["value"] for stat in answer["stats"] if "name" in stat}

    async def drain_listeners(self) -> None:
        """Asks clients to go elsewhere; the port stays open until the drain time is over."""
        await self._request("POST", "/drain_listeners?graceful&skip_exit")

    async def reopen_logs(self) -> None:
        await self._request("POST", "/reopen_logs")

    async def _request(self, method: str, path: str) -> str:
        return await asyncio.to_thread(self._exchange, method, path)

    def _exchange(self, method: str, path: str) -> str:
        with contextlib.closing(_UnixConnection(self._socket_path, self._timeout_s)) as connection:
            try:
                connection.request(method, path)
                response = connection.getresponse()
                body = response.read().decode()
            except http.client.HTTPException as error:
                raise OSError(f"Envoy's admin interface broke off: {error!r}") from error
        if response.status != http.HTTPStatus.OK and path != "/ready":
            raise OSError(f"Envoy's admin interface answered {path} with {response.status}: {body[:200]}")
        return body


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("envoy", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
