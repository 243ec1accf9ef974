"""What is known of the MPS of one GPU, what can happen to it, and what can be wanted of it."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"  # takes no client any more; its daemon ends once the last one has left
    FAILED = "failed"


# Every legal change of state.
EDGES: dict[State, frozenset[State]] = {
    State.OFF: frozenset({State.STARTING, State.RUNNING, State.DRAINING}),
    State.STARTING: frozenset({State.RUNNING, State.FAILED}),
    State.RUNNING: frozenset({State.DRAINING}),
    State.DRAINING: frozenset({State.OFF, State.FAILED}),
    State.FAILED: frozenset({State.OFF, State.STARTING, State.DRAINING}),
}


@dataclass(frozen=True)
class MpsLimits:
    """Times in seconds. `drain_s`: for its clients to leave before the daemon ends all the same."""

    check_interval_s: float = 2.0
    # Checks without an answer, in a row, until the daemon hangs.
    silent_after: int = 3
    drain_s: float = 60.0
    # Without a client for so long it ends: its server holds memory that whoever gets the whole GPU may want.
    idle_s: float = 30.0
    backoff_first_s: float = 0.5
    backoff_max_s: float = 300.0
    # Starts that failed in a row until shares are offered no more.
    give_up_after: int = 3


@dataclass(frozen=True)
class Mps:
    """`users`: replicas whose processes are, or are about to be, its clients."""

    state: State = State.OFF
    users: frozenset[str] = frozenset()
    # Seconds, of the clock that `now` is read from.
    since: float = 0.0
    wake_at: float | None = None
    idle_since: float | None = None
    silent: int = 0
    # Starts that failed in a row.
    failures: int = 0
    # Why it cannot be used, in a sentence.
    reason: str = ""

    def why_unusable(self, limits: MpsLimits) -> str:
        """Why no share of the GPU can be offered; "" where they can."""
        return self.reason if self.failures >= limits.give_up_after else ""


@dataclass(frozen=True)
class Joined:
    """A replica is about to start."""

    replica_id: str


@dataclass(frozen=True)
class Found:
    """A replica was started by an earlier agent, and runs."""

    replica_id: str


@dataclass(frozen=True)
class Left:
    """Its process has ended, or never began."""

    replica_id: str


@dataclass(frozen=True)
class Adopted:
    """The daemon of an earlier agent was found running."""


@dataclass(frozen=True)
class Answered:
    """The daemon does, for the first time or again."""


@dataclass(frozen=True)
class Silent:
    reason: str


@dataclass(frozen=True)
class Broken:
    """It did not start, has ended, or can take no client any more."""

    reason: str


@dataclass(frozen=True)
class Stopped:
    """There is no daemon any more."""


@dataclass(frozen=True)
class Vacate:
    """Somebody is to get the whole GPU."""


@dataclass(frozen=True)
class Due:
    """`wake_at` has come."""


Event = Joined | Found | Left | Adopted | Answered | Silent | Broken | Stopped | Vacate | Due


@dataclass(frozen=True)
class Start:
    """The daemon. Told of by Answered or Broken."""


@dataclass(frozen=True)
class Check:
    """The daemon. Told of by Answered, Silent or Broken."""


@dataclass(frozen=True)
class Drain:
    """All who use it: they are to leave, for this reason. Each is told of by Left."""

    reason: str


@dataclass(frozen=True)
class Stop:
    """The daemon. Told of by Stopped."""


Command = Start | Check | Drain | Stop
