"""The one loop that makes what is so into what is wished: load, decide, store, publish.

Level-triggered: each pass looks at everything, so a wake-up that is lost or comes twice costs nothing. What a pass
decides is stored before anybody hears of it, so a controller that is killed anywhere goes on from what it had stored.
"""

import asyncio
import contextlib
import logging
from datetime import timedelta

from controlplane.clock import Clock
from controlplane.domain import ClusterSnapshot, Timeouts
from controlplane.policy.decision import Decision, compute_decision
from controlplane.registry.store import StateStore
from controlplane.sessions.nodes import NodeSessions
from controlplane.sessions.routers import RouterSessions
from modelyard.backoff import Backoff
from modelyard.errors import AbortedError, UnavailableError

log = logging.getLogger(__name__)

_TICK_S = 1.0
_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 5.0


class Wakeup:
    """Counts the calls for a pass; the pass that follows answers all of them."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.requested = 0

    def __call__(self) -> None:
        self.requested += 1
        self._changed.set()

    async def wait(self, timeout_s: float) -> None:
        """Until the next call, one that came before included; at most `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        self._changed.clear()


class Reconciler:
    def __init__(
        self,
        *,
        store: StateStore,
        nodes: NodeSessions,
        routers: RouterSessions,
        wake: Wakeup,
        clock: Clock,
        timeouts: Timeouts,
    ) -> None:
        self.wake = wake
        self._store = store
        self._nodes = nodes
        self._routers = routers
        self._clock = clock
        self._timeouts = timeouts
        self._started_at = clock()
        self._decision: Decision | None = None
        self._answered = 0
        self._passed = asyncio.Condition()

    async def run(self, stop: asyncio.Event) -> None:
        """Passes until `stop` is set; the one under way is finished. No error ends it."""
        backoff = Backoff(_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S)
        while not stop.is_set():
            try:
                await self.run_pass()
            except Exception:
                delay_s = backoff.next_s()
                log.exception("a pass failed; trying again", extra={"in_s": delay_s})
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), delay_s)
                continue
            backoff.reset()
            await self.wake.wait(_TICK_S)

    async def run_pass(self) -> None:
        """One pass. Where somebody else wrote in between nothing is changed, and the next pass comes at once."""
        ticket = self.wake.requested
        stored = await asyncio.to_thread(self._store.load_state)
        snapshot = ClusterSnapshot(stored, self._nodes.view(), self._routers.view(), self._started_at, self._timeouts)
        decision = compute_decision(snapshot, self._clock())
        try:
            await self._store_decision(snapshot, decision)
        except AbortedError as error:
            log.debug("the pass was overtaken: %s", error.message)
            self.wake()
            return
        self._routers.publish(decision.table)
        self._nodes.send_desired(decision.desired)
        await self._answer(ticket, decision)

    async def _store_decision(self, snapshot: ClusterSnapshot, decision: Decision) -> None:
        plan, table = decision.plan, decision.table
        if not plan.is_empty():
            await asyncio.to_thread(self._store.apply_plan, plan, snapshot.stored.revision)
            _log_plan(decision)
        if table != snapshot.stored.route_table or decision.retired:
            await asyncio.to_thread(self._store.store_route_table, table, decision.retired)
        if not plan.is_empty() or decision.retired:
            self.wake()  # what was decided may allow the next step already

    async def _answer(self, ticket: int, decision: Decision) -> None:
        async with self._passed:
            self._decision, self._answered = decision, ticket
            self._passed.notify_all()

    async def read(self, timeout_s: float = 5.0) -> Decision:
        """What a pass that began after this call found and decided. Raises UnavailableError where none succeeds."""
        self.wake()
        ticket = self.wake.requested
        try:
            async with asyncio.timeout(timeout_s), self._passed:
                await self._passed.wait_for(lambda: self._answered >= ticket)
        except TimeoutError:
            raise UnavailableError(
                "the controller cannot tell the state of the yard now; its log says why: try again later"
            ) from None
        assert self._decision is not None
        return self._decision


def _log_plan(decision: Decision) -> None:
    for replica in decision.plan.create:
        log.info("replica %s is placed on node %s", replica.replica_id, replica.node)
    for replica in decision.plan.update:
        log.info("replica %s is to %s", replica.replica_id, replica.wish)
    for replica_id in decision.plan.delete:
        log.info("replica %s is gone", replica_id)


def make_timeouts(node_lost_after_s: float, router_lost_after_s: float, startup_grace_s: float) -> Timeouts:
    """All in seconds."""
    seconds = (node_lost_after_s, router_lost_after_s, startup_grace_s)
    return Timeouts(*(timedelta(seconds=value) for value in seconds))
