"""What a replica's state machine can want to be done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FetchArtifact:
    pass


@dataclass(frozen=True)
class CancelFetch:
    pass


@dataclass(frozen=True)
class Launch:
    launch: int


@dataclass(frozen=True)
class Probe:
    launch: int
    timeout_s: float


@dataclass(frozen=True)
class Terminate:
    """Ask the process to finish what it began and to end."""


@dataclass(frozen=True)
class Kill:
    pass


Command = FetchArtifact | CancelFetch | Launch | Probe | Terminate | Kill
