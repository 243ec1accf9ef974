"""Steps of a replica's life until it is ready: fetched, launched or adopted, probed for the first time. Pure."""

from dataclasses import replace

from nodeagent.replica_commands import FetchArtifact, Launch, Probe
from nodeagent.replica_events import (
    Adopted,
    Due,
    Event,
    Fetched,
    FetchFailed,
    Launched,
    LaunchFailed,
    Listening,
    ProbeFailed,
)
from nodeagent.replica_state import Limits, Replica, State
from nodeagent.replica_steps import Step, back_off, enter, kill, make_probe


def fetch(replica: Replica, event: Event, now: float, limits: Limits) -> Step:
    return enter(replica, State.FETCHING, now), (FetchArtifact(),)


def adopt(replica: Replica, event: Adopted, now: float, limits: Limits) -> Step:
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
        return enter(adopted, State.STARTING, now, start_by), ()
    # It may well be healthy, but only a probe can tell.
    adopted = replace(adopted, failed_probes=limits.unhealthy_after)
    return enter(adopted, State.UNHEALTHY, now), (make_probe(adopted, limits),)


def launch(replica: Replica, event: Fetched, now: float, limits: Limits) -> Step:
    launch = replica.launch + 1
    return enter(replace(replica, launch=launch, leaving=False), State.STARTING, now), (Launch(launch),)


def note_launched(replica: Replica, event: Launched, now: float, limits: Limits) -> Step:
    start_by = now + limits.start_timeout_s
    launched = replace(replica, running=True, started=replica.started + 1, start_by=start_by, wake_at=start_by)
    return kill(enter(launched, State.UNHEALTHY, now)) if launched.leaving else (launched, ())


def _first_probe(replica: Replica, now: float) -> Probe:
    """The first inference may build caches and take long: it has what is left of the time to start."""
    return Probe(replica.launch, max(replica.start_by - now, 0.1))


def note_listening(replica: Replica, event: Listening, now: float, limits: Limits) -> Step:
    listening = replace(replica, port=event.port)
    return listening, (_first_probe(listening, now),)


def probe_start_again(replica: Replica, event: ProbeFailed, now: float, limits: Limits) -> Step:
    wake_at = min(now + limits.start_probe_interval_s, replica.start_by)
    return replace(replica, message=event.reason, wake_at=wake_at), ()


def go_on_starting(replica: Replica, event: Due, now: float, limits: Limits) -> Step:
    if now < replica.start_by:
        return replace(replica, wake_at=replica.start_by), (_first_probe(replica, now),)
    why = f": {replica.message}" if replica.message else ""
    message = f"not ready {limits.start_timeout_s:g} s after its start{why}"
    return kill(enter(replace(replica, message=message), State.UNHEALTHY, now))


def note_failed(replica: Replica, event: FetchFailed | LaunchFailed, now: float, limits: Limits) -> Step:
    return back_off(replica, event.reason, now, limits)
