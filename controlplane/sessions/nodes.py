"""The nodes: what their agents said last, and the newest desired set of each.

Generations of desired sets grow for ever, across restarts of the controller as well: each is at least the time in
milliseconds since 1970, and more than any that the node has answered.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from controlplane.clock import Clock
from controlplane.domain import DesiredReplica, GpuCondition, Node, ObservedReplica
from controlplane.sessions.logs import LogRequest
from controlplane.sessions.mailbox import Mailbox
from modelyard.errors import AbortedError, AlreadyExistsError, UnavailableError

log = logging.getLogger(__name__)

# A node that is away shows in lists for so long after its loss.
_REMEMBERED = timedelta(hours=1)
_MOST_PLACED = 10_000


@dataclass(frozen=True)
class DesiredSet:
    generation: int
    replicas: tuple[DesiredReplica, ...]


# What goes out on an agent's stream: its newest desired set, and each log that it is asked for.
NodeMailbox = Mailbox[DesiredSet | LogRequest]


@dataclass(frozen=True)
class Report:
    """What an agent says of its node, all of it."""

    generation: int
    replicas: Mapping[str, ObservedReplica]
    gpus: Mapping[str, GpuCondition]


@dataclass(frozen=True)
class Hello:
    """How an agent introduces itself."""

    instance_id: str
    # Without what the controller knows better: `connected`, `last_seen` and the desired set.
    node: Node


@dataclass
class _Entry:
    node: Node
    instance_id: str
    mailbox: NodeMailbox
    desired: DesiredSet | None = None


class NodeSessions:
    """Used by the event loop only. `on_change` is called whenever a decision may come out differently."""

    def __init__(self, clock: Clock, node_lost_after: timedelta, on_change: Callable[[], None]) -> None:
        self._clock = clock
        self._forget_after = node_lost_after + _REMEMBERED
        self._on_change = on_change
        self._entries: dict[str, _Entry] = {}
        # The node of each replica that one was told to run, the newest last.
        self._placed: dict[str, str] = {}
        self._is_closed = False

    def register(self, hello: Hello) -> NodeMailbox:
        """What the agent's stream is to send. Raises AlreadyExistsError where another agent has that name."""
        if self._is_closed:
            raise UnavailableError("the controller is stopping; connect again")
        name, mailbox = hello.node.name, NodeMailbox()
        known = self._entries.get(name)
        if known is not None:
            self._take_over(known, hello)
        node = replace(hello.node, connected=True, last_seen=self._clock())
        self._entries[name] = _Entry(node, hello.instance_id, mailbox, known.desired if known else None)
        self._resend(self._entries[name])
        log.info("node %s is connected, at %s", name, node.address)
        self._on_change()
        return mailbox

    def _take_over(self, known: _Entry, hello: Hello) -> None:
        if known.node.connected and known.instance_id != hello.instance_id:
            raise AlreadyExistsError(
                f"node {known.node.name} is connected already, by the agent at {known.node.address} "
                f"(instance {known.instance_id}): give this one another --node, or stop that one first"
            )
        known.mailbox.close(AbortedError(f"the agent of node {known.node.name} connected anew"))

    def _resend(self, entry: _Entry) -> None:
        desired = entry.desired
        if desired is None:
            return
        if desired.generation < entry.node.observed_generation:
            desired = self._make_desired(entry, desired.replicas)
        self._tell(entry, desired)

    def observe(self, name: str, mailbox: NodeMailbox, report: Report) -> None:
        """A report that came by the stream of `mailbox`; one of a stream that was replaced is dropped."""
        entry = self._entries.get(name)
        if entry is None or entry.mailbox is not mailbox:
            return
        before = entry.node
        entry.node = replace(
            before,
            observed_generation=report.generation,
            observed=report.replicas,
            gpu_conditions=report.gpus,
            last_seen=self._clock(),
        )
        if _decisive(before) != _decisive(entry.node):
            self._on_change()

    def disconnect(self, name: str, mailbox: NodeMailbox) -> None:
        """The stream of `mailbox` has ended; does nothing where it was replaced."""
        entry = self._entries.get(name)
        if entry is not None and entry.mailbox is mailbox and entry.node.connected:
            entry.node = replace(entry.node, connected=False, last_seen=self._clock())
            log.warning("node %s is away", name)
            self._on_change()

    def last_node_of(self, replica_id: str) -> str | None:
        """Of one that may be gone, where that was lately and in this controller's life: its node may have its log."""
        return self._placed.get(replica_id)

    def order_log(self, name: str, request: LogRequest) -> None:
        """Has its agent send a log. Raises UnavailableError, ResourceExhaustedError."""
        entry = self._entries.get(name)
        if entry is None or not entry.node.connected:
            raise UnavailableError(f"node {name} is away: its logs cannot be read now")
        entry.mailbox.order(request)

    def send_desired(self, desired: Mapping[str, tuple[DesiredReplica, ...]]) -> None:
        """Gives each node its whole desired set, where that has changed; one that is not in it should run nothing."""
        for name, entry in self._entries.items():
            replicas = desired.get(name, ())
            if entry.desired is None or entry.desired.replicas != replicas:
                self._tell(entry, self._make_desired(entry, replicas))

    def _make_desired(self, entry: _Entry, replicas: tuple[DesiredReplica, ...]) -> DesiredSet:
        last = entry.desired.generation if entry.desired else 0
        now_ms = int(self._clock().timestamp() * 1000)
        return DesiredSet(max(now_ms, last + 1, entry.node.observed_generation + 1), replicas)

    def _tell(self, entry: _Entry, desired: DesiredSet) -> None:
        ids = frozenset(replica.replica_id for replica in desired.replicas)
        entry.desired = desired
        for replica_id in ids:
            self._placed.pop(replica_id, None)
            self._placed[replica_id] = entry.node.name
        while len(self._placed) > _MOST_PLACED:
            del self._placed[next(iter(self._placed))]
        entry.node = replace(entry.node, desired_generation=desired.generation, desired=ids)
        entry.mailbox.put(desired)

    def view(self) -> Mapping[str, Node]:
        """All nodes that are connected, or were until lately."""
        oldest = self._clock() - self._forget_after
        for name, entry in list(self._entries.items()):
            if not entry.node.connected and entry.node.last_seen and entry.node.last_seen < oldest:
                del self._entries[name]
        return {name: self._entries[name].node for name in sorted(self._entries)}

    def close(self) -> None:
        """Ends all streams, so that the agents connect to the next controller."""
        self._is_closed = True
        for entry in self._entries.values():
            entry.mailbox.close(UnavailableError("the controller is stopping; connect again"))


def _decisive(node: Node) -> tuple[object, ...]:
    """What a decision may hang on of what a node reports; how busy its GPUs are changes every time."""
    faults = {uuid: condition.fault for uuid, condition in node.gpu_conditions.items()}
    replicas = {name: replace(seen, memory_used_bytes=0) for name, seen in node.observed.items()}
    return node.observed_generation, replicas, faults
