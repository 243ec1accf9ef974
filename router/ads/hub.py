"""One target for all Envoys of this router, and what has become of it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from envoy.service.discovery.v3 import discovery_pb2

from router.ads.stream import AdsStream, Rejection, Snapshot
from router.xds.types import Resources

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Applied:
    """`snapshot`: the newest that every data plane has acknowledged, if any. `error`: why a newer one was refused."""

    snapshot: Snapshot | None = None
    error: str = ""


class Hub:
    """Holds the snapshot to be pushed, goes back to the last good one where an Envoy refuses it.

    `on_change` is called whenever `applied` has changed. All of this happens on one event loop.
    """

    def __init__(self, resources: Resources, on_change: Callable[[Applied], None]) -> None:
        """`resources` are what a new Envoy gets before there is a table, and are sure to be accepted."""
        self._sequences = count(1)
        self._target = self._good = Snapshot(0, 0, resources)
        self._on_change = on_change
        self._streams: dict[AdsStream, Callable[[], None]] = {}
        self._data_planes: set[str] = set()
        self._error = ""
        self.applied = Applied()

    def set_table(self, version: int, resources: Resources) -> Snapshot:
        self._error = ""
        snapshot = Snapshot(next(self._sequences), version, resources)
        self._set_target(snapshot)
        return snapshot

    def refuse_table(self, error: str) -> None:
        """Tells of a table that was not even pushed."""
        self._error = error
        self._update()

    def add_data_plane(self, node_id: str) -> None:
        """From now on nothing counts as applied before this Envoy has acknowledged it."""
        self._data_planes.add(node_id)
        self._update()

    def remove_data_plane(self, node_id: str) -> None:
        self._data_planes.discard(node_id)
        self._update()

    def has_applied_all(self, node_id: str) -> bool:
        """Whether this Envoy has what it should have now."""
        return any(stream.node_id == node_id and stream.has(self._target) for stream in self._streams)

    def open_stream(self, wake: Callable[[], None]) -> AdsStream:
        """`wake` is called when the stream has a new target."""
        stream = AdsStream(self._target)
        self._streams[stream] = wake
        return stream

    def close_stream(self, stream: AdsStream) -> None:
        self._streams.pop(stream, None)

    def handle_request(self, stream: AdsStream, request: discovery_pb2.DiscoveryRequest) -> None:
        if rejection := stream.handle_request(request):
            self._handle_rejection(stream.node_id, rejection)

    def handle_progress(self) -> None:
        """To be called when a stream has nothing more to send for now."""
        self._update()

    def _handle_rejection(self, node_id: str, rejection: Rejection) -> None:
        kind = rejection.type_url.rpartition(".")[2]
        text = (
            f"Envoy refused the {kind} of route table {rejection.snapshot.table_version}: {_shorten(rejection.message)}"
        )
        log.error(text, extra={"node_id": node_id})
        if rejection.snapshot is self._target:
            self._error = text
            self._set_target(self._good)

    def _set_target(self, snapshot: Snapshot) -> None:
        self._target = snapshot
        for stream, wake in self._streams.items():
            stream.set_target(snapshot)
            wake()
        self._update()

    def _update(self) -> None:
        now = Applied(self._applied_by_all(), self._error)
        if now != self.applied:
            self.applied = now
            self._good = now.snapshot or self._good
            self._on_change(now)

    def _applied_by_all(self) -> Snapshot | None:
        """While an Envoy is away or new, nothing that was applied before is taken back, and nothing new is applied."""
        by_node = {stream.node_id: stream.applied for stream in self._streams if stream.applied}
        if not self._data_planes or not self._data_planes <= by_node.keys():
            return self.applied.snapshot
        return min((by_node[node_id] for node_id in self._data_planes), key=lambda snapshot: snapshot.sequence)


def _shorten(message: str) -> str:
    """Envoy names the resource first, then shows all of it, then says what is wrong with it."""
    words = " ".join(message.split())
    return words if len(words) <= 600 else f"{words[:150]} ... {words[-450:]}"
