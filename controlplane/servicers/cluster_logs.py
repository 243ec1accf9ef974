"""The part of ClusterService that reads logs: the agent of the node sends them, and this hands them on."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from controlplane.domain import Node
from controlplane.reconcilers.reconciler import Reconciler
from controlplane.registry.near_names import describe_choice
from controlplane.sessions.logs import LogQuery, LogRelays
from controlplane.sessions.nodes import NodeSessions
from controlplane.sessions.stream import on_end
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from modelyard.v1 import deployments_pb2 as pb

_ANSWER_TIMEOUT_S = 10.0


class ReplicaLogs:
    """Mixed into the servicer of the service."""

    def __init__(self, reconciler: Reconciler, nodes: NodeSessions, logs: LogRelays) -> None:
        self._reconciler = reconciler
        self._nodes = nodes
        self._logs = logs

    async def ReadReplicaLog(
        self, request: pb.ReadReplicaLogRequest, context: Any
    ) -> AsyncIterator[pb.ReadReplicaLogResponse]:
        query = _parse_query(request)
        node = await self._find_node(query.replica_id)
        relay = self._logs.open(node, query)
        on_end(context, lambda: self._logs.drop(relay))
        self._nodes.order_log(node, relay.request)
        async with aclosing(relay.read(_ANSWER_TIMEOUT_S)) as pieces:
            async for piece in pieces:
                yield pb.ReadReplicaLogResponse(chunk=piece)

    async def _find_node(self, replica_id: str) -> str:
        """Its node's name. Raises NotFoundError, UnavailableError, FailedPreconditionError."""
        after = (await self._reconciler.read()).after
        replicas = after.stored.replicas
        known = replicas.get(replica_id)
        name = known.node if known else self._nodes.last_node_of(replica_id)
        if name is None:
            hint = describe_choice(replica_id, sorted(replicas), "none runs")
            raise NotFoundError(f"there is no replica {replica_id[:250]!r}; {hint}")
        _check_can_send(name, after.nodes.get(name))
        return name


def _parse_query(request: pb.ReadReplicaLogRequest) -> LogQuery:
    """Raises InvalidArgumentError."""
    replica_id = request.name.removeprefix("replicas/")
    if replica_id == request.name or not replica_id:
        raise InvalidArgumentError(f"{request.name[:300]!r} names no replica: wanted replicas/REPLICA")
    if request.tail_lines < 0:
        raise InvalidArgumentError(f"tail_lines is {request.tail_lines}: give a number of lines, or 0 for all")
    if request.follow and request.previous:
        raise InvalidArgumentError("the run before has ended: there is nothing to follow")
    return LogQuery(replica_id, request.tail_lines, request.follow, request.previous)


def _check_can_send(name: str, node: Node | None) -> None:
    if node is None or not node.connected:
        raise UnavailableError(
            f"node {name} is away, and its logs are there: start its agent, or look on the host itself"
        )
    if not node.release:
        # An agent that knows of no requests takes one for a desired set with nothing in it, and stops all it has.
        raise FailedPreconditionError(
            f"the agent of node {name} is of an earlier release, which sends no logs: install this release there"
        )
