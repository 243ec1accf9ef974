"""What is known of nodes and replicas, and for how long silence is taken for life."""

from datetime import datetime

from controlplane.domain import (
    ClusterSnapshot,
    Endpoint,
    Node,
    ObservedReplica,
    Replica,
    ReplicaState,
    Schedulability,
    StoredState,
)

_NOT_SPOKEN_OF = "its node has not spoken of it yet"


class Observations:
    """Answers about one snapshot."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._nodes = snapshot.nodes
        self._last_endpoints = {
            endpoint.replica_id: endpoint for pool in snapshot.stored.route_table.pools for endpoint in pool.endpoints
        }

    def sighting_of(self, replica: Replica) -> ObservedReplica:
        """What is known of it; where its node has not reported since the controller started, what it was routed as."""
        node = self._nodes.get(replica.node)
        if node is not None:
            pending = ObservedReplica(replica.replica_id, ReplicaState.PENDING, message=_NOT_SPOKEN_OF)
            return node.observed.get(replica.replica_id, pending)
        endpoint = self._last_endpoints.get(replica.replica_id)
        state = ReplicaState.READY if endpoint else ReplicaState.PENDING
        message = f"node {replica.node} has not reported since the controller started"
        return ObservedReplica(replica.replica_id, state, port=endpoint.port if endpoint else 0, message=message)

    def endpoint_of(self, replica: Replica) -> Endpoint | None:
        """Where it takes requests; None while it is not ready."""
        seen = self.sighting_of(replica)
        if seen.state is not ReplicaState.READY or not seen.port:
            return None
        node = self._nodes.get(replica.node)
        if node is None:
            return self._last_endpoints[replica.replica_id]
        return Endpoint(replica.replica_id, node.address, seen.port)

    def is_ready(self, replica: Replica) -> bool:
        return self.endpoint_of(replica) is not None

    def is_heard_of(self, replica: Replica) -> bool:
        """False where its state is only what was routed before the controller's restart."""
        return replica.node in self._nodes


def find_drained(stored: StoredState) -> frozenset[str]:
    """The nodes that are being drained, whether or not they are here."""
    draining = Schedulability.DRAINING
    return frozenset(node for node, scheduling in stored.scheduling.items() if scheduling.state is draining)


def is_starting(snapshot: ClusterSnapshot, now: datetime) -> bool:
    """True while nodes and routers that live may not have reconnected to this controller yet."""
    return now - snapshot.started_at < snapshot.timeouts.startup_grace


def is_node_lost(snapshot: ClusterSnapshot, name: str, now: datetime) -> bool:
    """True once a node has been silent for so long that its replicas are placed elsewhere."""
    node = snapshot.nodes.get(name)
    if (node is not None and node.connected) or is_starting(snapshot, now):
        return False
    return now - _last_seen(snapshot, node) > snapshot.timeouts.node_lost_after


def _last_seen(snapshot: ClusterSnapshot, node: Node | None) -> datetime:
    return (node.last_seen if node else None) or snapshot.started_at


def have_routers_applied(snapshot: ClusterSnapshot, table_version: int, now: datetime) -> bool:
    """True when every router that may still route follows a table at or after `table_version`."""
    if is_starting(snapshot, now):
        return False
    return all(
        router.applied_version >= table_version
        for router in snapshot.routers.values()
        if router.connected or now - router.last_seen <= snapshot.timeouts.router_lost_after
    )
