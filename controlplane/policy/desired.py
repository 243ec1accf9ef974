"""What each node is told to run."""

from collections import defaultdict
from collections.abc import Mapping

from controlplane.domain import DesiredReplica, StoredState, Wish


def compute_desired(stored: StoredState) -> Mapping[str, tuple[DesiredReplica, ...]]:
    """The whole desired set of each node that has one, by replica-id; a node that is not here should run nothing."""
    desired: dict[str, list[DesiredReplica]] = defaultdict(list)
    for replica_id in sorted(stored.replicas):
        replica = stored.replicas[replica_id]
        if replica.wish is not Wish.STOP:
            version = stored.versions[(replica.model, replica.version)]
            desired[replica.node].append(DesiredReplica(replica_id, version, replica.allocation))
    return {node: tuple(replicas) for node, replicas in desired.items()}
