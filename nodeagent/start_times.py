"""How long each part of a replica's start took."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class StartTimes:
    """In seconds. As resources.proto tells them."""

    fetch_s: float
    start_s: float
    load_s: float
    warm_up_s: float
    probe_s: float


@dataclass(frozen=True)
class StartMoments:
    """When it got how far, in seconds of the monotonic clock, which all processes of a host share; 0: not told."""

    wanted: float = 0.0
    fetched: float = 0.0
    # As the server tells them.
    began: float = 0.0
    loaded: float = 0.0
    warm: float = 0.0
    # As the agent saw them.
    listening: float = 0.0
    answered: float = 0.0


def compute_start_times(moments: StartMoments) -> StartTimes:
    """What a server does not tell counts as part of what came before it, so that the parts add up to the whole."""
    ends = [moments.wanted, moments.fetched, moments.began, moments.loaded, moments.warm]
    if not (moments.began and moments.loaded and moments.warm):
        ends[2:] = [moments.listening] * 3
    ends.append(moments.answered)
    # A server's word for it may not reach beyond what the agent saw.
    for index in range(1, len(ends)):
        ends[index] = min(max(ends[index], ends[index - 1]), moments.answered)
    return StartTimes(*(round(end - start, 6) for start, end in pairwise(ends)))
