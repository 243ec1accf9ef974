"""The routers: which route table each follows, and the newest for all."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from controlplane.clock import Clock
from controlplane.domain import RouterView, RouteTable
from controlplane.sessions.mailbox import Mailbox
from modelyard.errors import AbortedError, AlreadyExistsError, UnavailableError

log = logging.getLogger(__name__)

# A router that is away shows in lists for so long after its loss.
_REMEMBERED = timedelta(hours=1)


@dataclass
class _Entry:
    view: RouterView
    mailbox: Mailbox[RouteTable]


class RouterSessions:
    """Used by the event loop only. `on_change` is called whenever a decision may come out differently."""

    def __init__(self, clock: Clock, router_lost_after: timedelta, on_change: Callable[[], None]) -> None:
        self._clock = clock
        self._forget_after = router_lost_after + _REMEMBERED
        self._on_change = on_change
        self._entries: dict[str, _Entry] = {}
        # None: nothing was decided since the controller started.
        self._table: RouteTable | None = None
        self._is_closed = False

    def register(self, router_id: str, address: str, applied_version: int, error: str) -> Mailbox[RouteTable]:
        """What the router's stream is to send. Raises AlreadyExistsError where another router has that id."""
        if self._is_closed:
            raise UnavailableError("the controller is stopping; connect again")
        if known := self._entries.get(router_id):
            self._take_over(known, address)
        mailbox = Mailbox[RouteTable]()
        view = RouterView(router_id, address, applied_version, True, self._clock(), error)
        self._entries[router_id] = _Entry(view, mailbox)
        if self._table is not None:
            mailbox.put(self._table)
        log.info("router %s is connected, at %s", router_id, address)
        self._on_change()
        return mailbox

    def _take_over(self, known: _Entry, address: str) -> None:
        router_id = known.view.router_id
        if known.view.connected and known.view.address != address:
            raise AlreadyExistsError(
                f"router {router_id} is connected already, at {known.view.address}: "
                "give this one another --router-id, or stop that one first"
            )
        known.mailbox.close(AbortedError(f"router {router_id} connected anew"))

    def report(self, router_id: str, mailbox: Mailbox[RouteTable], applied_version: int, error: str) -> None:
        """A status that came by the stream of `mailbox`; one of a stream that was replaced is dropped."""
        entry = self._entries.get(router_id)
        if entry is None or entry.mailbox is not mailbox:
            return
        before = entry.view
        entry.view = replace(before, applied_version=applied_version, error=error, last_seen=self._clock())
        if (before.applied_version, before.error) != (applied_version, error):
            self._on_change()

    def disconnect(self, router_id: str, mailbox: Mailbox[RouteTable]) -> None:
        """The stream of `mailbox` has ended; does nothing where it was replaced."""
        entry = self._entries.get(router_id)
        if entry is not None and entry.mailbox is mailbox and entry.view.connected:
            entry.view = replace(entry.view, connected=False, last_seen=self._clock())
            log.warning("router %s is away", router_id)
            self._on_change()

    def publish(self, table: RouteTable) -> None:
        """Gives the newest table to all routers; it must have been stored."""
        if table == self._table:
            return
        self._table = table
        for entry in self._entries.values():
            entry.mailbox.put(table)

    def view(self) -> Mapping[str, RouterView]:
        """All routers that are connected, or were until lately."""
        oldest = self._clock() - self._forget_after
        for router_id, entry in list(self._entries.items()):
            if not entry.view.connected and entry.view.last_seen < oldest:
                del self._entries[router_id]
        return {router_id: self._entries[router_id].view for router_id in sorted(self._entries)}

    def close(self) -> None:
        """Ends all streams, so that the routers connect to the next controller."""
        self._is_closed = True
        for entry in self._entries.values():
            entry.mailbox.close(UnavailableError("the controller is stopping; connect again"))
