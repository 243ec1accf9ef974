"""Sentences about replicas, for routes and statuses."""

from collections import Counter
from collections.abc import Iterable, Sequence

from controlplane.domain import Deployment, NodeScheduling, ObservedReplica, ReplicaState, Schedulability

_LONGEST_MESSAGE = 1000
_TROUBLED = (ReplicaState.BACKOFF, ReplicaState.UNHEALTHY)


def describe_states(seen: Sequence[ObservedReplica]) -> str:
    """As in "2 replicas, 1 starting, 1 in backoff: the file is not a model"."""
    trouble = find_trouble(seen)
    return ", ".join([plural(len(seen), "replica"), *list_states(seen)]) + (f": {trouble}" if trouble else "")


def list_states(seen: Iterable[ObservedReplica]) -> list[str]:
    """As in ["1 starting", "1 in backoff"]."""
    counts = Counter(replica.state for replica in seen)
    return [f"{counts[state]} {_phrase(state)}" for state in ReplicaState if counts[state]]


def find_trouble(seen: Iterable[ObservedReplica]) -> str:
    """The message of the first replica that failed; empty where none did."""
    troubled = (replica for replica in seen if replica.state in _TROUBLED)
    first = min(troubled, key=lambda replica: replica.replica_id, default=None)
    return shorten(first.message or f"replica {first.replica_id} is {first.state}") if first else ""


def deploy_command(deployment: Deployment, replicas: int) -> str:
    return f"`modelyard deploy {deployment.model} --alias {deployment.alias} --replicas {replicas}`"


def describe_scheduling(scheduling: NodeScheduling) -> str:
    """As in "being drained by ada (new disk)", of a node that is not open."""
    author = scheduling.author
    state = "being drained" if scheduling.state is Schedulability.DRAINING else str(scheduling.state)
    who = f" by {author.user}" if author.user else ""
    why = f" ({' '.join(author.reason.split())})" if author.reason else ""  # it may have lines of its own
    return f"{state}{who}{why}"


def list_nodes(names: Sequence[str]) -> str:
    """As in "node a", "nodes a and b" or "nodes a, b and 3 more"."""
    if len(names) == 1:
        return f"node {names[0]}"
    last = names[1] if len(names) == 2 else f"{len(names) - 2} more"
    first = names[0] if len(names) == 2 else f"{names[0]}, {names[1]}"
    return f"nodes {first} and {last}"


def shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 3] + "..."


def _phrase(state: ReplicaState) -> str:
    return "in backoff" if state is ReplicaState.BACKOFF else state.value


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
