"""Sentences about replicas, for routes and statuses."""

from collections import Counter
from collections.abc import Iterable, Sequence

from controlplane.domain import Deployment, ObservedReplica, ReplicaState

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


def shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 3] + "..."


def _phrase(state: ReplicaState) -> str:
    return "in backoff" if state is ReplicaState.BACKOFF else state.value


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
