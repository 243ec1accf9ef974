"""What each node is told to run."""

from collections import defaultdict
from collections.abc import Mapping

from controlplane.domain import DesiredReplica, StoredState, Version, VersionDraft, Wish


def compute_desired(stored: StoredState) -> Mapping[str, tuple[DesiredReplica, ...]]:
    """The whole desired set of each node that has one, by replica-id; a node that is not here should run nothing."""
    desired: dict[str, list[DesiredReplica]] = defaultdict(list)
    for replica_id in sorted(stored.replicas):
        replica = stored.replicas[replica_id]
        if replica.wish is not Wish.STOP:
            version = stored.versions[(replica.model, replica.version)]
            bare = _strip(version)
            desired[replica.node].append(DesiredReplica(replica_id, bare, replica.allocation, replica.serving))
    return {node: tuple(replicas) for node, replicas in desired.items()}


def _strip(version: Version) -> Version:
    """What running it takes (nodeagent.replica_spec), all of which is fixed.

    The rest may have megabytes, and each change of it would be a new desired set for every node that serves it.
    """
    facts = version.facts
    kept = VersionDraft(
        model=facts.model,
        format=facts.format,
        packaging=facts.packaging,
        uri="",
        sha256=facts.sha256,
        size_bytes=facts.size_bytes,
        signature=facts.signature,
        sample=facts.sample,
    )
    return Version(version.number, kept, version.created_at)
