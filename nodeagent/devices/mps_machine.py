"""The life of one GPU's MPS daemon: what happened goes in, the new state and what to do about it come out. Pure.

    OFF -> STARTING -> RUNNING -> DRAINING -> OFF
              |  ^                   |  ^
              v  |                   v  |
  (OFF) <--- FAILED <----------------+--+

Whoever performs its commands promises that each is answered as it says, that what is told of a daemon comes before the
next command to it is given, and that Due is told when `wake_at` has come.

A daemon that broke, or hangs, is replaced only after the processes that use it have ended: they cannot come to a new
one, and what is left of the old one under them is undefined.
"""

from collections.abc import Callable
from dataclasses import replace

from nodeagent.devices.mps_state import (
    EDGES,
    Adopted,
    Answered,
    Broken,
    Check,
    Command,
    Drain,
    Due,
    Event,
    Found,
    Joined,
    Left,
    Mps,
    MpsLimits,
    Silent,
    Start,
    State,
    Stop,
    Stopped,
    Vacate,
)

Step = tuple[Mps, tuple[Command, ...]]

_ENDED = "its MPS daemon has ended"


class IllegalMpsTransitionError(Exception):
    """A defect of the agent."""


def handle(mps: Mps, event: Event, now: float, limits: MpsLimits) -> Step:
    """The MPS after `event`, and what is to be done. Raises IllegalMpsTransitionError."""
    if isinstance(event, Due) and (mps.wake_at is None or now < mps.wake_at):
        return mps, ()
    handler = _HANDLERS.get((mps.state, type(event)))
    if handler is None:
        raise IllegalMpsTransitionError(f"{event} cannot happen to MPS that is {mps.state}")
    after, commands = handler(mps, event, now, limits)
    if after.state is not mps.state and after.state not in EDGES[mps.state]:
        raise IllegalMpsTransitionError(f"{event} led from {mps.state} to {after.state}")
    return after, commands


def compute_backoff_s(failures: int, limits: MpsLimits) -> float:
    """Seconds to wait after that many failures in a row (1 or more): doubled each time, up to a limit."""
    return float(min(limits.backoff_first_s * 2.0 ** min(failures - 1, 30), limits.backoff_max_s))


def _enter(mps: Mps, state: State, now: float, wake_at: float | None = None) -> Mps:
    return replace(mps, state=state, since=now, wake_at=wake_at, silent=0)


def _add(mps: Mps, replica_id: str) -> Mps:
    return replace(mps, users=mps.users | {replica_id}, idle_since=None)


def _start(mps: Mps, event: Joined | Due, now: float, limits: MpsLimits) -> Step:
    joined = _add(mps, event.replica_id) if isinstance(event, Joined) else mps
    return _enter(joined, State.STARTING, now), (Start(),)


def _try_again(mps: Mps, event: Due, now: float, limits: MpsLimits) -> Step:
    """Where shares are offered no more nobody comes who would start it: it is found out whether they can be again."""
    if mps.why_unusable(limits):
        return _start(mps, event, now, limits)
    return _enter(mps, State.OFF, now), ()


def _join(mps: Mps, event: Joined | Found, now: float, limits: MpsLimits) -> Step:
    return _add(mps, event.replica_id), ()


def _refuse(mps: Mps, event: Joined, now: float, limits: MpsLimits) -> Step:
    return mps, ()


def _adopt(mps: Mps, event: Adopted, now: float, limits: MpsLimits) -> Step:
    return replace(_enter(mps, State.RUNNING, now, now + limits.check_interval_s), idle_since=now), ()


def _find_orphan(mps: Mps, event: Found, now: float, limits: MpsLimits) -> Step:
    """Its daemon ended while no agent was here, or before this one came to the replica."""
    reason = mps.reason or _ENDED
    orphaned = replace(_add(mps, event.replica_id), reason=reason)
    return _enter(orphaned, State.DRAINING, now, now + limits.drain_s), (Drain(reason),)


def _find_another(mps: Mps, event: Found, now: float, limits: MpsLimits) -> Step:
    return _add(mps, event.replica_id), (Drain(mps.reason or _ENDED),)


def _leave(mps: Mps, event: Left, now: float, limits: MpsLimits) -> Step:
    users = mps.users - {event.replica_id}
    return replace(mps, users=users, idle_since=mps.idle_since if users or mps.idle_since else now), ()


def _started(mps: Mps, event: Answered, now: float, limits: MpsLimits) -> Step:
    idle_since = None if mps.users else now
    started = replace(mps, idle_since=idle_since, failures=0, reason="")
    return _enter(started, State.RUNNING, now, now + limits.check_interval_s), ()


def _not_started(mps: Mps, event: Broken, now: float, limits: MpsLimits) -> Step:
    """Who waits for it is told, and comes again."""
    failures = mps.failures + 1
    failed = replace(mps, failures=failures, users=frozenset(), reason=f"its MPS daemon does not start: {event.reason}")
    return _enter(failed, State.FAILED, now, now + compute_backoff_s(failures, limits)), ()


def _still_running(mps: Mps, event: Answered, now: float, limits: MpsLimits) -> Step:
    return replace(mps, silent=0, wake_at=now + limits.check_interval_s), ()


def _silent(mps: Mps, event: Silent, now: float, limits: MpsLimits) -> Step:
    after = replace(mps, silent=mps.silent + 1, wake_at=now + limits.check_interval_s)
    if after.silent < limits.silent_after:
        return after, ()
    return _lose(after, f"its MPS daemon hangs: {event.reason}", now, limits)


def _broken(mps: Mps, event: Broken, now: float, limits: MpsLimits) -> Step:
    return _lose(mps, event.reason, now, limits)


def _lose(mps: Mps, reason: str, now: float, limits: MpsLimits) -> Step:
    lost = replace(mps, reason=reason)
    draining = _enter(lost, State.DRAINING, now, now + limits.drain_s if lost.users else None)
    return draining, (Drain(reason),) if lost.users else (Stop(),)


def _check_or_rest(mps: Mps, event: Due, now: float, limits: MpsLimits) -> Step:
    if mps.idle_since is not None and now >= mps.idle_since + limits.idle_s:
        return _rest(mps, now)
    return replace(mps, wake_at=None), (Check(),)


def _vacate(mps: Mps, event: Vacate, now: float, limits: MpsLimits) -> Step:
    return (mps, ()) if mps.users else _rest(mps, now)


def _rest(mps: Mps, now: float) -> Step:
    return _enter(mps, State.DRAINING, now), (Stop(),)


def _leave_draining(mps: Mps, event: Left, now: float, limits: MpsLimits) -> Step:
    if event.replica_id not in mps.users:
        return mps, ()
    after = replace(mps, users=mps.users - {event.replica_id})
    return (after, ()) if after.users or mps.wake_at is None else (replace(after, wake_at=None), (Stop(),))


def _stop_all_the_same(mps: Mps, event: Due, now: float, limits: MpsLimits) -> Step:
    return replace(mps, wake_at=None), (Stop(),)


def _stopped(mps: Mps, event: Stopped, now: float, limits: MpsLimits) -> Step:
    gone = replace(mps, users=frozenset(), idle_since=None)
    if not mps.reason:
        return _enter(gone, State.OFF, now), ()
    return _enter(gone, State.FAILED, now, now + compute_backoff_s(1, limits)), ()


def _ignore(mps: Mps, event: Event, now: float, limits: MpsLimits) -> Step:
    return mps, ()


# What may happen in which state. Anything else is a defect.
_HANDLERS: dict[tuple[State, type], Callable[..., Step]] = {
    (State.OFF, Joined): _start,
    (State.OFF, Found): _find_orphan,
    (State.OFF, Left): _ignore,
    (State.OFF, Adopted): _adopt,
    (State.OFF, Vacate): _ignore,
    (State.STARTING, Joined): _join,
    (State.STARTING, Found): _join,
    (State.STARTING, Left): _leave,
    (State.STARTING, Answered): _started,
    (State.STARTING, Broken): _not_started,
    (State.STARTING, Vacate): _ignore,
    (State.RUNNING, Joined): _join,
    (State.RUNNING, Found): _join,
    (State.RUNNING, Left): _leave,
    (State.RUNNING, Answered): _still_running,
    (State.RUNNING, Silent): _silent,
    (State.RUNNING, Broken): _broken,
    (State.RUNNING, Vacate): _vacate,
    (State.RUNNING, Due): _check_or_rest,
    (State.DRAINING, Joined): _refuse,
    (State.DRAINING, Found): _find_another,
    (State.DRAINING, Left): _leave_draining,
    (State.DRAINING, Answered): _ignore,  # to a check that was on its way
    (State.DRAINING, Silent): _ignore,
    (State.DRAINING, Broken): _ignore,
    (State.DRAINING, Stopped): _stopped,
    (State.DRAINING, Vacate): _ignore,
    (State.DRAINING, Due): _stop_all_the_same,
    (State.FAILED, Joined): _refuse,
    (State.FAILED, Found): _find_orphan,
    (State.FAILED, Left): _ignore,
    (State.FAILED, Vacate): _ignore,
    (State.FAILED, Due): _try_again,
}
