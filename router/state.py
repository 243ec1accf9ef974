"""Between the controller's tables and Envoy: the newest table, what has been applied of it, and what to report."""

import asyncio
import contextlib
import logging
from pathlib import Path

from google.protobuf.message import DecodeError

from modelyard.errors import InvalidArgumentError
from modelyard.files import write_whole
from modelyard.v1 import routing_pb2
from router.ads.hub import Applied, Hub
from router.ads.stream import Snapshot
from router.resources import compute_resources
from router.table import Table, parse_table
from router.xds.data_plane import DataPlane

log = logging.getLogger(__name__)

_STORE_RETRY_S = 1.0


class RouterState:
    """`status` is what the controller is told; `status_changed` is set whenever it changes."""

    def __init__(self, plane: DataPlane, path: Path) -> None:
        """`path` is the file of the newest table that was applied."""
        self._plane = plane
        self._path = path
        self._message: routing_pb2.RouteTable | None = None
        self._pushed: dict[Snapshot, routing_pb2.RouteTable] = {}
        self._applied_changed = asyncio.Event()
        self._is_store_failing = False
        self.table: Table | None = None
        self.status = routing_pb2.RouterStatus()
        self.status_changed = asyncio.Event()
        self.hub = Hub(compute_resources(Table(0, (), ()), plane), self._on_applied)

    def accept_table(self, message: routing_pb2.RouteTable) -> None:
        """Follows the controller, also back: a yard that was set up anew counts from 1 again."""
        if message == self._message:
            return
        if self._message and message.version <= self._message.version:
            numbers = {"held": self._message.version, "sent": message.version}
            log.warning("the controller's route table is not newer than the one held; following it", extra=numbers)
        self._message = message
        try:
            table = parse_table(message)
        except InvalidArgumentError as error:
            log.error(error.message)
            self.hub.refuse_table(error.message)
            return
        self.table = table
        self._pushed[self.hub.set_table(table.version, compute_resources(table, self._plane))] = message

    def load(self) -> None:
        """Begins with the table that was applied last, so that the controller may be away."""
        try:
            message = routing_pb2.RouteTable.FromString(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, DecodeError) as error:
            log.error("cannot read the stored route table; waiting for the controller's: %s", error)
            return
        self.accept_table(message)

    async def run(self) -> None:
        """Stores what has been applied, then reports it; runs until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STORE_RETRY_S if self._is_store_failing else None):
                    await self._applied_changed.wait()
            self._applied_changed.clear()
            await self._report(self.hub.applied)

    async def _report(self, applied: Applied) -> None:
        # The controller stops what is no longer routed, so a restart must never go back behind what it was told.
        snapshot = applied.snapshot
        if snapshot and (message := self._pushed.pop(snapshot, None)):
            if not await self._store(message):
                self._pushed[snapshot] = message
                return
            self._pushed = {s: m for s, m in self._pushed.items() if s.sequence > snapshot.sequence}
        version = snapshot.table_version if snapshot else 0
        if not applied.error:
            log.info("route table applied", extra={"version": version})
        self.status = routing_pb2.RouterStatus(applied_version=version, error=applied.error)
        self.status_changed.set()

    async def _store(self, message: routing_pb2.RouteTable) -> bool:
        try:
            await asyncio.to_thread(write_whole, self._path, message.SerializeToString())
        except OSError as error:
            # Requests go on; what the controller wants to stop waits, since a restart here would route to it again.
            level = logging.DEBUG if self._is_store_failing else logging.ERROR
            log.log(level, "cannot store the route table, trying again: %s", error)
            self._is_store_failing = True
            return False
        if self._is_store_failing:
            log.info("the route table can be stored again")
        self._is_store_failing = False
        return True

    def _on_applied(self, applied: Applied) -> None:
        self._applied_changed.set()
