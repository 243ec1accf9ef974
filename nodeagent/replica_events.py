"""What can happen to a replica."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """The controller wants it, and there is no process of it."""


@dataclass(frozen=True)
class Adopted:
    """A process of an earlier agent's life was found running. `port` is 0 where it does not listen yet."""

    port: int
    restarts: int
    canary_s: float = 0.0


@dataclass(frozen=True)
class Fetched:
    pass


@dataclass(frozen=True)
class FetchFailed:
    reason: str


@dataclass(frozen=True)
class Unwanted:
    """The controller no longer wants it: no router sends requests to it any more."""


@dataclass(frozen=True)
class Due:
    """`wake_at` has come."""


@dataclass(frozen=True)
class DeviceLost:
    """What it computes on cannot be used as it is any more, and comes back only when nothing uses it."""

    reason: str


@dataclass(frozen=True)
class OfLaunch:
    """Of the process that Launch number `launch` started; news of an earlier one is out of date."""

    launch: int


@dataclass(frozen=True)
class Launched(OfLaunch):
    pass


@dataclass(frozen=True)
class LaunchFailed(OfLaunch):
    reason: str


@dataclass(frozen=True)
class Listening(OfLaunch):
    port: int


@dataclass(frozen=True)
class ProbeOk(OfLaunch):
    took_s: float


@dataclass(frozen=True)
class ProbeFailed(OfLaunch):
    reason: str


@dataclass(frozen=True)
class Pulse(OfLaunch):
    """The server answered a question that takes no work, or refused it."""


@dataclass(frozen=True)
class NoPulse(OfLaunch):
    """It has not answered that question yet. Told again after each interval in which it did not.

    `thread_states`: a letter for each thread of its process, as in proc(5)'s stat. `cpu_share`: what it used of one
    core since the last look at it.
    """

    thread_states: str
    cpu_share: float


@dataclass(frozen=True)
class MemoryRead(OfLaunch):
    """What its processes hold of the host's memory, and what it was given. Told about once a second.

    `is_stated`: a person said how much it is to have, so that it gets no more.
    """

    used_bytes: int
    given_bytes: int
    is_stated: bool


@dataclass(frozen=True)
class Exited(OfLaunch):
    """`reason`: how it ended and its last words, as a sentence."""

    reason: str


Event = Wanted | Adopted | Fetched | FetchFailed | Unwanted | Due | DeviceLost | OfLaunch
