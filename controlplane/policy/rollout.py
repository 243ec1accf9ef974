"""How one deployment moves to another version: the old one serves until enough of the new one is ready."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain import (
    Allocation,
    Deployment,
    DeploymentKey,
    Node,
    ObservedReplica,
    Replica,
    ReplicaState,
    RouteTable,
    Version,
)
from controlplane.policy.demand import Demand
from controlplane.policy.filters import can_serve
from controlplane.policy.gpu_choice import share_of
from controlplane.policy.observations import Observations

# Who failed fewer times may be back in a moment, and sooner than its successor.
_MANY_RESTARTS = 3


@dataclass(frozen=True)
class Target:
    """What every replica of a deployment should be."""

    deployment: Deployment
    version: Version
    demand: Demand


def is_current(replica: Replica, target: Target, nodes: Mapping[str, Node]) -> bool:
    """True for a replica of the target version, with the allocation wished, that its node can still serve.

    That is, on cores and a share of a GPU that it still offers, with the runtime that the format takes.
    """
    allocation, demand = replica.allocation, target.demand
    node = nodes.get(replica.node)
    return (
        replica.version == target.version.number
        and (allocation.threads, allocation.memory_bytes) == (demand.cores, demand.memory_bytes)
        and (allocation.gpu.percent if allocation.gpu else 0) == demand.gpu_percent
        and replica.serving == demand.serving
        and (node is None or _is_still_offered(allocation, node, demand))
    )


def _is_still_offered(allocation: Allocation, node: Node, demand: Demand) -> bool:
    if not (set(allocation.cores) <= set(node.cores) and can_serve(node, demand)):
        return False
    if allocation.gpu is None:
        return True
    gpu = next((gpu for gpu in node.gpus if gpu.uuid == allocation.gpu.uuid), None)
    return gpu is not None and allocation.gpu.percent in gpu.shares and share_of(gpu, demand) == allocation.gpu


def is_on_faulty_gpu(replica: Replica, nodes: Mapping[str, Node]) -> bool:
    share, node = replica.allocation.gpu, nodes.get(replica.node)
    if share is None or node is None:
        return False
    condition = node.gpu_conditions.get(share.uuid)
    return condition is not None and bool(condition.fault)


def find_served_versions(table: RouteTable) -> dict[DeploymentKey, int]:
    """The version of each deployment that its alias is routed to, of those that replicas of their own serve."""
    served = {}
    for route in table.routes:
        model, _, alias = route.key.partition("@")
        if alias and route.pool == pool_name(key := DeploymentKey(model, alias), route.version):
            served[key] = route.version
    return served


def pool_name(key: DeploymentKey, version: int) -> str:
    return f"{key.model}/{key.alias}@{version}"


def choose_leaving(
    wanted: int,
    new: Sequence[Replica],
    old: Sequence[Replica],
    lost: Sequence[Replica],
    *,
    served_version: int,
    observations: Observations,
    is_stuck: bool,
) -> list[Replica]:
    """Which replicas of a deployment retire now. `new` are as it wishes, `old` are not, both oldest first.

    `lost` would be as it wishes, where they cannot stay: on nodes that are lost or drained, or on GPUs that are out of
    service. They go when all of the new ones are ready, not before; save those that fail again and again, which serve
    nobody: else a version that is broken could not be moved away at all.
    Surplus ones that are not ready leave first, then the newest.
    `is_stuck`: some of the new ones have no place, so that waiting for all of them could be for ever.
    """
    by_worth = sorted(new, key=observations.is_ready, reverse=True)  # stable: the oldest first among equals
    surplus = by_worth[wanted:]
    ready = [replica for replica in by_worth[:wanted] if observations.is_ready(replica)]
    ready_old = [replica for replica in old if observations.is_ready(replica)]
    enough = len(ready) >= wanted
    best_there_can_be = is_stuck and 0 < len(ready) == len(new) and len(ready) >= len(ready_old)
    if enough:
        return [*surplus, *old, *lost]
    if best_there_can_be:
        return [*surplus, *old]
    failing = [] if is_stuck else [replica for replica in lost if _fails_again(observations.sighting_of(replica))]
    return [*surplus, *failing, *_choose_abandoned(old, ready_old, served_version)]


def _fails_again(seen: ObservedReplica) -> bool:
    return seen.state is ReplicaState.BACKOFF and seen.restarts >= _MANY_RESTARTS


def _choose_abandoned(old: Sequence[Replica], ready_old: Sequence[Replica], served_version: int) -> Sequence[Replica]:
    """Attempts that a later change overtook before they were finished, while an older version still serves."""
    serving = next((replica for replica in ready_old if replica.version == served_version), None)
    if serving is None:
        return []
    ready = {replica.replica_id for replica in ready_old}
    return [
        replica
        for replica in old
        if replica.version != served_version or (replica.replica_id not in ready and _shape(replica) != _shape(serving))
    ]


def _shape(replica: Replica) -> tuple[object, ...]:
    allocation = replica.allocation
    percent = allocation.gpu.percent if allocation.gpu else 0
    return allocation.threads, allocation.memory_bytes, percent, replica.serving
