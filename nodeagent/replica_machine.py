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

from nodeagent import replica_ending as ending
from nodeagent import replica_health as health
from nodeagent import replica_memory as memory
from nodeagent import replica_starting as starting
from nodeagent.replica_events import (
    Adopted,
    DeviceLost,
    Due,
    Event,
    Exited,
    Fetched,
    FetchFailed,
    Launched,
    LaunchFailed,
    Listening,
    MemoryRead,
    NoPulse,
    OfLaunch,
    ProbeFailed,
    ProbeOk,
    Pulse,
    Unwanted,
    Wanted,
)
from nodeagent.replica_state import EDGES, Limits, Replica, State
from nodeagent.replica_steps import Step, ignore

_STORY_LENGTH = 30


class IllegalTransitionError(Exception):
    """A defect of the agent. The message tells what the replica went through."""


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
    if before.state is after.state and isinstance(event, ProbeOk | Pulse | NoPulse | MemoryRead | Due):
        return after  # the daily round would push out what matters
    line = f"{now:.3f} {event}: {before.state} -> {after.state}"
    return replace(after, story=(*before.story, line)[-_STORY_LENGTH:])


def _is_out_of_date(replica: Replica, event: Event, now: float) -> bool:
    """News that crossed with a change of state: true when it was sent, of no use now."""
    if isinstance(event, OfLaunch):
        return event.launch < replica.launch or (not replica.running and isinstance(event, _NEWS_OF_LIVING))
    if isinstance(event, Due):
        return replica.wake_at is None or now < replica.wake_at
    return replica.state is State.STOPPED and isinstance(event, Fetched | FetchFailed | Unwanted | DeviceLost)


_NEWS_OF_LIVING = (Listening, ProbeOk, ProbeFailed, Pulse, NoPulse, MemoryRead)

# What may happen in which state. Anything else is a defect.
_HANDLERS: dict[tuple[State, type], Callable[..., Step]] = {
    (State.NEW, Wanted): starting.fetch,
    (State.NEW, Adopted): starting.adopt,
    (State.FETCHING, Fetched): starting.launch,
    (State.FETCHING, FetchFailed): starting.note_failed,
    (State.FETCHING, DeviceLost): ignore,
    (State.FETCHING, Unwanted): ending.stop_fetching,
    (State.STARTING, Launched): starting.note_launched,
    (State.STARTING, LaunchFailed): starting.note_failed,
    (State.STARTING, Listening): starting.note_listening,
    (State.STARTING, ProbeOk): health.become_ready,
    (State.STARTING, ProbeFailed): starting.probe_start_again,
    (State.STARTING, Pulse): ignore,
    (State.STARTING, NoPulse): ignore,  # no request can reach it yet, and its time to start is limited
    (State.STARTING, MemoryRead): memory.read_memory,
    (State.STARTING, Due): starting.go_on_starting,
    (State.STARTING, Exited): ending.note_exited,
    (State.STARTING, DeviceLost): ending.lose_device,
    (State.STARTING, Unwanted): ending.stop_starting,
    (State.READY, ProbeOk): health.stay_ready,
    (State.READY, ProbeFailed): health.note_probe_failed,
    (State.READY, Pulse): health.note_pulse,
    (State.READY, NoPulse): health.note_silence,
    (State.READY, MemoryRead): memory.read_memory,
    (State.READY, Due): health.go_on_watching,
    (State.READY, Exited): ending.note_exited,
    (State.READY, DeviceLost): ending.lose_device,
    (State.READY, Unwanted): ending.drain,
    (State.UNHEALTHY, ProbeOk): health.become_ready,
    (State.UNHEALTHY, ProbeFailed): health.note_probe_failed,
    (State.UNHEALTHY, Pulse): health.note_pulse,
    (State.UNHEALTHY, NoPulse): health.note_silence,
    (State.UNHEALTHY, MemoryRead): memory.read_memory,
    (State.UNHEALTHY, Due): health.go_on_watching,
    (State.UNHEALTHY, Listening): ignore,  # too late: it is being killed
    (State.UNHEALTHY, Exited): ending.note_exited,
    (State.UNHEALTHY, DeviceLost): ending.lose_device,
    (State.UNHEALTHY, Unwanted): ending.drain,
    (State.BACKOFF, Due): starting.fetch,
    (State.BACKOFF, DeviceLost): ignore,
    (State.BACKOFF, Unwanted): ending.stop_waiting,
    (State.DRAINING, Launched): ending.kill_at_once,
    (State.DRAINING, LaunchFailed): ending.note_stopped,
    (State.DRAINING, Listening): ignore,
    (State.DRAINING, ProbeOk): ignore,
    (State.DRAINING, ProbeFailed): ignore,
    (State.DRAINING, Pulse): ignore,
    (State.DRAINING, NoPulse): ignore,
    (State.DRAINING, MemoryRead): memory.keep_memory,
    (State.DRAINING, Due): ending.kill_at_once,
    (State.DRAINING, Exited): ending.note_stopped,
    (State.DRAINING, DeviceLost): ignore,
    (State.DRAINING, Unwanted): ignore,
}
