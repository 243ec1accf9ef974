"""The life of a replica: what happened goes in, the new state and what to do about it come out. No I/O, no clock.

    NEW -> FETCHING -> STARTING -> READY <-> UNHEALTHY        DRAINING -> STOPPED
              ^            |         |           |               ^
              |            v         v           v               |
              +--------- BACKOFF <---+-----------+     (from all that have a process)

`handle` is the whole interface. Whoever performs its commands promises that each Probe is answered by one ProbeOk or
ProbeFailed, each Launch by Launched or LaunchFailed, each FetchArtifact by Fetched or FetchFailed, that the end of a
process is told once as Exited, and that Due is told when `wake_at` has come.

Two things watch a running server. Probes ask whether it gives right answers; they fail slowly, since an inference may
take long. The pulse asks whether it does anything at all, once a second. A busy server answers that beside its work,
and one that comes to nothing for want of a core is seen to want it. So its silence is told from being busy within
seconds: the replica leaves the routes until a probe succeeds again, and after some more silence it is killed.
"""

from collections.abc import Callable
from dataclasses import replace

from nodeagent.replica_commands import CancelFetch, Command, FetchArtifact, Kill, Launch, Probe, Terminate
from nodeagent.replica_events import (
    Adopted,
    Due,
    Event,
    Exited,
    Fetched,
    FetchFailed,
    Launched,
    LaunchFailed,
    Listening,
    NoPulse,
    OfLaunch,
    ProbeFailed,
    ProbeOk,
    Pulse,
    Unwanted,
    Wanted,
)
from nodeagent.replica_state import EDGES, Limits, Replica, State

_STORY_LENGTH = 30


class IllegalTransitionError(Exception):
    """A defect of the agent. The message tells what the replica went through."""


Step = tuple[Replica, tuple[Command, ...]]


def handle(replica: Replica, event: Event, now: float, limits: Limits) -> Step:
    """The replica after `event`, and what is to be done. Raises IllegalTransitionError."""
    if _is_out_of_date(replica, event, now):
        return replica, ()
    handler = _HANDLERS.get((replica.state, type(event)))
    if handler is None:
        raise IllegalTransitionError(f"{event} cannot happen to a replica that is {replica.state}: {replica.story}")
    after, commands = handler(replica, event, now, limits)
    if after.state != replica.state and after.state not in EDGES[replica.state]:
        raise IllegalTransitionError(f"{event} led from {replica.state} to {after.state}: {replica.story}")
    return _tell_story(replica, after, event, now), commands


def _tell_story(before: Replica, after: Replica, event: Event, now: float) -> Replica:
    if before.state is after.state and isinstance(event, ProbeOk | Pulse | NoPulse | Due):
        return after  # the daily round would push out what matters
    line = f"{now:.3f} {event}: {before.state} -> {after.state}"
    return replace(after, story=(*before.story, line)[-_STORY_LENGTH:])


def _is_out_of_date(replica: Replica, event: Event, now: float) -> bool:
    """News that crossed with a change of state: true when it was sent, of no use now."""
    if isinstance(event, OfLaunch):
        return event.launch < replica.launch or (not replica.running and isinstance(event, _NEWS_OF_LIVING))
    if isinstance(event, Due):
        return replica.wake_at is None or now < replica.wake_at
    return replica.state is State.STOPPED and isinstance(event, Fetched | FetchFailed | Unwanted)


_NEWS_OF_LIVING = (Listening, ProbeOk, ProbeFailed, Pulse, NoPulse)


def compute_backoff_s(failures: int, limits: Limits) -> float:
    """Seconds to wait after that many failures in a row (1 or more): doubled each time, up to a limit."""
    return float(min(limits.backoff_first_s * 2.0 ** min(failures - 1, 30), limits.backoff_max_s))


def _enter(replica: Replica, state: State, now: float, wake_at: float | None = None) -> Replica:
    return replace(replica, state=state, since=now, wake_at=wake_at)


def _gone(replica: Replica) -> Replica:
    """What is left when its process has ended."""
    return replace(replica, running=False, dying=False, port=0, failed_probes=0, silent=0)


def _fetch(replica: Replica, event: Event, now: float, limits: Limits) -> Step:
    return _enter(replica, State.FETCHING, now), (FetchArtifact(),)


def _adopt(replica: Replica, event: Adopted, now: float, limits: Limits) -> Step:
    start_by = now + limits.start_timeout_s
    adopted = replace(
        replica,
        launch=1,
        started=event.restarts + 1,
        running=True,
        port=event.port,
        canary_s=event.canary_s,
        start_by=start_by,
        message="adopted from an earlier run of the agent; not probed yet",
    )
    if not event.port:
        return _enter(adopted, State.STARTING, now, start_by), ()
    # It may well be healthy, but only a probe can tell.
    adopted = replace(adopted, failed_probes=limits.unhealthy_after)
    return _enter(adopted, State.UNHEALTHY, now), (_probe(adopted, limits),)


def _launch(replica: Replica, event: Fetched, now: float, limits: Limits) -> Step:
    launch = replica.launch + 1
    return _enter(replace(replica, launch=launch), State.STARTING, now), (Launch(launch),)


def _launched(replica: Replica, event: Launched, now: float, limits: Limits) -> Step:
    start_by = now + limits.start_timeout_s
    launched = replace(replica, running=True, started=replica.started + 1, start_by=start_by, wake_at=start_by)
    return launched, ()


def _probe(replica: Replica, limits: Limits) -> Probe:
    """A model whose one inference takes seconds gets the time for it: several times what its last one took."""
    return Probe(replica.launch, max(limits.probe_timeout_s, 5 * replica.canary_s))


def _first_probe(replica: Replica, now: float) -> Probe:
    """The first inference may build caches and take long: it has what is left of the time to start."""
    return Probe(replica.launch, max(replica.start_by - now, 0.1))


def _listening(replica: Replica, event: Listening, now: float, limits: Limits) -> Step:
    listening = replace(replica, port=event.port)
    return listening, (_first_probe(listening, now),)


def _probe_start_again(replica: Replica, event: ProbeFailed, now: float, limits: Limits) -> Step:
    wake_at = min(now + limits.start_probe_interval_s, replica.start_by)
    return replace(replica, message=event.reason, wake_at=wake_at), ()


def _start_due(replica: Replica, event: Due, now: float, limits: Limits) -> Step:
    if now < replica.start_by:
        return replace(replica, wake_at=replica.start_by), (_first_probe(replica, now),)
    why = f": {replica.message}" if replica.message else ""
    message = f"not ready {limits.start_timeout_s:g} s after its start{why}"
    return _kill(_enter(replace(replica, message=message), State.UNHEALTHY, now))


def _kill(replica: Replica) -> Step:
    return replace(replica, dying=True, wake_at=None), (Kill(),)


def _next_probe_at(took_s: float, now: float, limits: Limits) -> float:
    return now + max(limits.probe_interval_s, took_s * limits.probe_share)


def _ready(replica: Replica, event: ProbeOk, now: float, limits: Limits) -> Step:
    if replica.dying:
        return replica, ()
    ready = replace(replica, failed_probes=0, silent=0, canary_s=event.took_s, message="")
    return _enter(ready, State.READY, now, _next_probe_at(event.took_s, now, limits)), ()


def _still_ready(replica: Replica, event: ProbeOk, now: float, limits: Limits) -> Step:
    failures = 0 if now - replica.since >= limits.stable_after_s else replica.failures
    wake_at = _next_probe_at(event.took_s, now, limits)
    after = replace(replica, failed_probes=0, silent=0, failures=failures, canary_s=event.took_s, wake_at=wake_at)
    return after, ()


def _probe_failed(replica: Replica, event: ProbeFailed, now: float, limits: Limits) -> Step:
    if replica.dying:
        return replica, ()
    failed = replica.failed_probes + 1
    after = replace(replica, failed_probes=failed, wake_at=now + limits.probe_interval_s)
    if failed < limits.unhealthy_after:
        return after, ()
    after = replace(after, message=f"{failed} probes in a row failed: {event.reason}")
    if replica.state is not State.UNHEALTHY:
        after = _enter(after, State.UNHEALTHY, now, after.wake_at)
    return _kill(after) if failed >= limits.kill_after else (after, ())


def _probe_due(replica: Replica, event: Due, now: float, limits: Limits) -> Step:
    return replace(replica, wake_at=None), (_probe(replica, limits),)


def _answered(replica: Replica, event: Pulse, now: float, limits: Limits) -> Step:
    return replace(replica, silent=0), ()


def _silent(replica: Replica, event: NoPulse, now: float, limits: Limits) -> Step:
    if replica.dying:
        return replica, ()
    after = replace(replica, silent=0 if _is_busy(event, limits) else replica.silent + 1)
    if after.silent < limits.hung_after:
        return after, ()
    after = replace(after, message=f"it hangs: it answers nothing, and its process {_tell_idleness(event)}")
    if after.state is State.READY:
        # A slow model's next probe may be minutes away: too long to wait for one that lets it back.
        wake_at = after.wake_at and min(after.wake_at, now + limits.probe_interval_s)
        after = _enter(after, State.UNHEALTHY, now, wake_at)
    return _kill(after) if after.silent >= limits.kill_hung_after and _can_be_killed(event) else (after, ())


def _is_busy(event: NoPulse, limits: Limits) -> bool:
    """A thread that could run, if there were a core for it, shows that the host is busy, and not that this hangs."""
    return "R" in event.thread_states or event.cpu_share > limits.idle_cpu_share


def _can_be_killed(event: NoPulse) -> bool:
    """One that waits for a disk does not even die before the disk answers, and its successor would wait as well."""
    return "D" not in event.thread_states


def _tell_idleness(event: NoPulse) -> str:
    if "D" in event.thread_states:
        return "waits for a disk"
    return "is stopped" if "T" in event.thread_states.upper() else "does nothing"


def _back_off(replica: Replica, reason: str, now: float, limits: Limits) -> Step:
    failures = replica.failures + 1
    wake_at = now + compute_backoff_s(failures, limits)
    return _enter(replace(replica, failures=failures, message=reason), State.BACKOFF, now, wake_at), ()


def _failed(replica: Replica, event: FetchFailed | LaunchFailed, now: float, limits: Limits) -> Step:
    return _back_off(replica, event.reason, now, limits)


def _exited(replica: Replica, event: Exited, now: float, limits: Limits) -> Step:
    # Where it was killed, the reason for that is worth more than the signal it died of.
    return _back_off(_gone(replica), replica.message if replica.dying else event.reason, now, limits)


def _stop_fetching(replica: Replica, event: Unwanted, now: float, limits: Limits) -> Step:
    return _enter(replica, State.STOPPED, now), (CancelFetch(),)


def _stop_waiting(replica: Replica, event: Unwanted, now: float, limits: Limits) -> Step:
    return _enter(replica, State.STOPPED, now), ()


def _stop_starting(replica: Replica, event: Unwanted, now: float, limits: Limits) -> Step:
    """It never had a request, so there is nothing to finish."""
    draining = _enter(replace(replica, message="stopped before it was ready"), State.DRAINING, now)
    return _kill(draining) if replica.running else (draining, ())


def _drain(replica: Replica, event: Unwanted, now: float, limits: Limits) -> Step:
    draining = replace(replica, message="finishes what it began")
    if replica.dying:
        return _enter(draining, State.DRAINING, now), ()
    return _enter(draining, State.DRAINING, now, now + limits.drain_timeout_s), (Terminate(),)


def _ignore(replica: Replica, event: Event, now: float, limits: Limits) -> Step:
    return replica, ()


def _kill_at_once(replica: Replica, event: Event, now: float, limits: Limits) -> Step:
    return _kill(replace(replica, running=True))


def _stopped(replica: Replica, event: Exited | LaunchFailed, now: float, limits: Limits) -> Step:
    return _enter(replace(_gone(replica), message=""), State.STOPPED, now), ()


# What may happen in which state. Anything else is a defect.
_HANDLERS: dict[tuple[State, type], Callable[..., Step]] = {
    (State.NEW, Wanted): _fetch,
    (State.NEW, Adopted): _adopt,
    (State.FETCHING, Fetched): _launch,
    (State.FETCHING, FetchFailed): _failed,
    (State.FETCHING, Unwanted): _stop_fetching,
    (State.STARTING, Launched): _launched,
    (State.STARTING, LaunchFailed): _failed,
    (State.STARTING, Listening): _listening,
    (State.STARTING, ProbeOk): _ready,
    (State.STARTING, ProbeFailed): _probe_start_again,
    (State.STARTING, Pulse): _ignore,
    (State.STARTING, NoPulse): _ignore,  # no request can reach it yet, and its time to start is limited
    (State.STARTING, Due): _start_due,
    (State.STARTING, Exited): _exited,
    (State.STARTING, Unwanted): _stop_starting,
    (State.READY, ProbeOk): _still_ready,
    (State.READY, ProbeFailed): _probe_failed,
    (State.READY, Pulse): _answered,
    (State.READY, NoPulse): _silent,
    (State.READY, Due): _probe_due,
    (State.READY, Exited): _exited,
    (State.READY, Unwanted): _drain,
    (State.UNHEALTHY, ProbeOk): _ready,
    (State.UNHEALTHY, ProbeFailed): _probe_failed,
    (State.UNHEALTHY, Pulse): _answered,
    (State.UNHEALTHY, NoPulse): _silent,
    (State.UNHEALTHY, Due): _probe_due,
    (State.UNHEALTHY, Listening): _ignore,  # too late: it is being killed
    (State.UNHEALTHY, Exited): _exited,
    (State.UNHEALTHY, Unwanted): _drain,
    (State.BACKOFF, Due): _fetch,
    (State.BACKOFF, Unwanted): _stop_waiting,
    (State.DRAINING, Launched): _kill_at_once,
    (State.DRAINING, LaunchFailed): _stopped,
    (State.DRAINING, Listening): _ignore,
    (State.DRAINING, ProbeOk): _ignore,
    (State.DRAINING, ProbeFailed): _ignore,
    (State.DRAINING, Pulse): _ignore,
    (State.DRAINING, NoPulse): _ignore,
    (State.DRAINING, Due): _kill_at_once,
    (State.DRAINING, Exited): _stopped,
    (State.DRAINING, Unwanted): _ignore,
}
