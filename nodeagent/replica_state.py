"""What a replica's state machine knows of a replica, and the limits that it holds it to."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    NEW = "new"
    FETCHING = "fetching"
    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    BACKOFF = "backoff"
    DRAINING = "draining"
    STOPPED = "stopped"


# Every legal change of state.
EDGES: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.FETCHING, State.STARTING, State.UNHEALTHY}),
    State.FETCHING: frozenset({State.STARTING, State.BACKOFF, State.STOPPED}),
    State.STARTING: frozenset({State.READY, State.UNHEALTHY, State.BACKOFF, State.DRAINING}),
    State.READY: frozenset({State.UNHEALTHY, State.BACKOFF, State.DRAINING}),
    State.UNHEALTHY: frozenset({State.READY, State.BACKOFF, State.DRAINING}),
    State.BACKOFF: frozenset({State.FETCHING, State.STOPPED}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset(),
}


@dataclass(frozen=True)
class Limits:
    """Times in seconds. Counts are of probes failed, or of intervals without a pulse, in a row."""

    start_timeout_s: float = 300.0
    start_probe_interval_s: float = 0.2
    probe_interval_s: float = 2.0
    probe_timeout_s: float = 5.0
    # Probes take at most one part in this many of a replica's time, however slow its model is.
    probe_share: int = 20
    unhealthy_after: int = 3
    kill_after: int = 6
    pulse_interval_s: float = 1.0
    hung_after: int = 3
    kill_hung_after: int = 10
    # A process that uses more of a core than this does something, even if it does not answer.
    idle_cpu_share: float = 0.05
    # Readings in a row of more memory than it was given: one moment's peak is no growth.
    over_memory_after: int = 3
    # For what it had begun, once it must end for that and is out of the routes.
    over_memory_finish_s: float = 5.0
    # For routers to learn that nothing may be sent to it any more.
    leave_routes_s: float = 3.0
    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    # READY for so long makes earlier failures forgotten.
    stable_after_s: float = 60.0
    # From the polite request to end until the kill.
    drain_timeout_s: float = 35.0


@dataclass(frozen=True)
class Replica:
    state: State = State.NEW
    # Seconds, of the clock that `now` is read from.
    since: float = 0.0
    wake_at: float | None = None
    start_by: float = 0.0
    # The number of the newest launch; 0: none yet.
    launch: int = 0
    # Processes that were started in all.
    started: int = 0
    running: bool = False
    # Killed or, where `wake_at` is when it will be, asked to end; not gone yet.
    dying: bool = False
    # Where it is dying: when `wake_at` comes it is asked to end, and only after that it is killed.
    leaving: bool = False
    # How long it then has for what it had begun; 0: as long as any that drains.
    finish_s: float = 0.0
    port: int = 0
    # What a canary inference takes, as its last probe told.
    canary_s: float = 0.0
    failed_probes: int = 0
    # Intervals in a row in which its server neither answered nor did anything else.
    silent: int = 0
    # As last told; it changes with what is held, but not with every byte.
    memory_used_bytes: int = 0
    # Readings in a row of more than it was given.
    over_memory: int = 0
    # Tries that failed since it was last stable.
    failures: int = 0
    # Why it is not ready; where it is, what is to be known of it.
    message: str = ""
    story: tuple[str, ...] = ()

    @property
    def restarts(self) -> int:
        return max(0, self.started - 1)
