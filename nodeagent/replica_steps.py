"""What several steps of a replica's life have in common. No I/O, no clock."""

from dataclasses import replace

from nodeagent.replica_commands import Command, Kill, Probe
from nodeagent.replica_events import Event
from nodeagent.replica_state import Limits, Replica, State

Step = tuple[Replica, tuple[Command, ...]]


def compute_backoff_s(failures: int, limits: Limits) -> float:
    """Seconds to wait after that many failures in a row (1 or more): doubled each time, up to a limit."""
    return float(min(limits.backoff_first_s * 2.0 ** min(failures - 1, 30), limits.backoff_max_s))


def enter(replica: Replica, state: State, now: float, wake_at: float | None = None) -> Replica:
    return replace(replica, state=state, since=now, wake_at=wake_at)


def make_gone(replica: Replica) -> Replica:
    """What is left when its process has ended."""
    return replace(
        replica,
        running=False,
        dying=False,
        leaving=False,
        finish_s=0.0,
        port=0,
        failed_probes=0,
        silent=0,
        memory_used_bytes=0,
        over_memory=0,
    )


def kill(replica: Replica) -> Step:
    return replace(replica, dying=True, leaving=False, wake_at=None), (Kill(),)


def back_off(replica: Replica, reason: str, now: float, limits: Limits) -> Step:
    failures = replica.failures + 1
    wake_at = now + compute_backoff_s(failures, limits)
    return enter(replace(replica, failures=failures, message=reason), State.BACKOFF, now, wake_at), ()


def ignore(replica: Replica, event: Event, now: float, limits: Limits) -> Step:
    return replica, ()


def make_probe(replica: Replica, limits: Limits) -> Probe:
    """A model whose one inference takes seconds gets the time for it: several times what its last one took."""
    return Probe(replica.launch, max(limits.probe_timeout_s, 5 * replica.canary_s))
