"""The last steps of a replica: out of the routes, out of its node's desired set, out of the records."""

from datetime import datetime

from controlplane.domain import ClusterSnapshot, Replica, ReplicaState, Wish
from controlplane.policy.observations import have_routers_applied


def may_stop(snapshot: ClusterSnapshot, replica: Replica, now: datetime) -> bool:
    """True once no router can still send it a request: each follows a route table that leaves it out."""
    if replica.wish is not Wish.RETIRE or not replica.retired_in:
        return False
    return have_routers_applied(snapshot, replica.retired_in, now)


def is_gone(snapshot: ClusterSnapshot, replica: Replica) -> bool:
    """True once its node has answered a desired set without it, and says that it is not there.

    An observation of an earlier desired set proves nothing: the node may just not have begun with it.
    """
    node = snapshot.nodes.get(replica.node)
    if replica.wish is not Wish.STOP or node is None:
        return False
    if not node.desired_generation or replica.replica_id in node.desired:
        return False
    seen = node.observed.get(replica.replica_id)
    return node.observed_generation >= node.desired_generation and (seen is None or seen.state is ReplicaState.STOPPED)
