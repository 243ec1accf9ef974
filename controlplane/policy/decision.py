"""One whole pass of the controller, as a function: what it read, in; all that follows from it, out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from controlplane.domain import (
    ClusterSnapshot,
    DeploymentKey,
    DeploymentStatus,
    DesiredReplica,
    Plan,
    RouteTable,
    Wish,
)
from controlplane.policy.desired import compute_desired
from controlplane.policy.lifecycle import compute_plan, compute_state_after
from controlplane.policy.route_check import check_route_table
from controlplane.policy.routes import compute_route_table
from controlplane.policy.status import compute_statuses


@dataclass(frozen=True)
class Decision:
    plan: Plan
    # The snapshot with the plan carried out.
    after: ClusterSnapshot
    table: RouteTable
    # For each retired replica that has none yet: the first table known to leave it out.
    retired: Mapping[str, int]
    desired: Mapping[str, tuple[DesiredReplica, ...]]
    statuses: Mapping[DeploymentKey, DeploymentStatus]


def compute_decision(snapshot: ClusterSnapshot, now: datetime) -> Decision:
    """Raises InternalError where the route table would contradict itself."""
    lifecycle = compute_plan(snapshot, now)
    after = replace(snapshot, stored=compute_state_after(snapshot.stored, lifecycle.plan))
    table = check_route_table(compute_route_table(after, snapshot.stored.route_table))
    retired = {
        replica.replica_id: table.version
        for replica in after.stored.replicas.values()
        if replica.wish is Wish.RETIRE and not replica.retired_in
    }
    statuses = compute_statuses(after, table, lifecycle.no_place, now)
    return Decision(lifecycle.plan, after, table, retired, compute_desired(after.stored), statuses)
