"""The part of ClusterService that lists nodes, and that opens, cordons and drains them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from controlplane.clock import Clock
from controlplane.domain import Author, NodeScheduling, Schedulability
from controlplane.policy.decision import Decision
from controlplane.policy.placement import compute_rooms
from controlplane.reconcilers.reconciler import Reconciler
from controlplane.registry.announcement import check_reason, check_user
from controlplane.registry.near_names import describe_choice
from controlplane.registry.store import StateStore
from controlplane.servicers.cluster_converters import absent_node_to_proto, node_to_proto
from modelyard.errors import InvalidArgumentError, NotFoundError
from modelyard.uninterrupted import run_to_end
from modelyard.v1 import deployments_pb2 as pb
from modelyard.v1 import resources_pb2

log = logging.getLogger(__name__)

_STATES = {
    resources_pb2.NodeScheduling.State.Value(schedulability.name): schedulability for schedulability in Schedulability
}


class ClusterNodes:
    """Mixed into the servicer of the service. `on_change` is called after each change, in the event loop."""

    def __init__(self, store: StateStore, reconciler: Reconciler, clock: Clock, on_change: Callable[[], None]) -> None:
        self._store = store
        self._reconciler = reconciler
        self._clock = clock
        self._on_change = on_change

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        return pb.ListNodesResponse(nodes=list_nodes(await self._reconciler.read()))

    async def UpdateNodeScheduling(
        self, request: pb.UpdateNodeSchedulingRequest, context: Any
    ) -> pb.UpdateNodeSchedulingResponse:
        state = _parse_state(request.state)
        check_user(request.user)
        check_reason(request.reason)
        name = await self._find_known(_parse_node_name(request.name))
        scheduling = NodeScheduling(name, state, Author(self._clock(), request.user, request.reason))
        # To its end, whatever becomes of the caller: what is stored is told.
        await run_to_end(self._put(scheduling))
        nodes = list_nodes(await self._reconciler.read())
        found = (node for node in nodes if node.node == name)
        return pb.UpdateNodeSchedulingResponse(node=next(found, absent_node_to_proto(name, None, 0)))

    async def _put(self, scheduling: NodeScheduling) -> None:
        await asyncio.to_thread(self._store.put_scheduling, scheduling)
        author = scheduling.author
        # Quoted: they may have lines of their own.
        log.info("node %s is %s, says %r: %r", scheduling.node, scheduling.state, author.user, author.reason)
        self._on_change()

    async def _find_known(self, name: str) -> str:
        """One that is away can be cordoned, too. Raises NotFoundError with the nodes that are near."""
        after = (await self._reconciler.read()).after
        known = {*after.nodes, *after.stored.scheduling, *(r.node for r in after.stored.replicas.values())}
        if name not in known:
            hint = describe_choice(name, sorted(known), "none has connected: modelyard agent --controller HOST:PORT")
            raise NotFoundError(f"there is no node {name[:253]!r}; {hint}")
        return name


def list_nodes(decision: Decision) -> list[resources_pb2.Node]:
    """Those that have reported, and those that a person cordoned or drains, by name."""
    after = decision.after
    counts = Counter(replica.node for replica in after.stored.replicas.values())
    here = [node_to_proto(room, counts[room.node.name]) for room in compute_rooms(after)]
    absent = [
        absent_node_to_proto(name, scheduling, counts[name])
        for name, scheduling in after.stored.scheduling.items()
        if name not in after.nodes
    ]
    return sorted([*here, *absent], key=lambda node: node.node)


def _parse_node_name(resource: str) -> str:
    """Raises InvalidArgumentError."""
    collection, _, name = resource.partition("/")
    if collection != "nodes" or not name:
        raise InvalidArgumentError(f"{resource[:300]!r} names no node: wanted nodes/NODE")
    return name


def _parse_state(state: int) -> Schedulability:
    """Raises InvalidArgumentError."""
    if state not in _STATES:
        wanted = ", ".join(schedulability.name for schedulability in Schedulability)
        raise InvalidArgumentError(f"{state} is no state of a node: wanted {wanted}")
    return _STATES[state]
