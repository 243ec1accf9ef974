"""Steps of a replica's life to the end of its process: lost, drained, killed, gone. Pure."""

from dataclasses import replace

from nodeagent.replica_commands import CancelFetch, Terminate
from nodeagent.replica_events import DeviceLost, Event, Exited, LaunchFailed, Unwanted
from nodeagent.replica_state import Limits, Replica, State
from nodeagent.replica_steps import Step, back_off, enter, kill, make_gone


def lose_device(replica: Replica, event: DeviceLost, now: float, limits: Limits) -> Step:
    """It leaves the routes first, then it finishes what it had begun."""
    if replica.dying:
        return replica, ()
    lost = replace(replica, message=event.reason, leaving=True)
    if replica.state is State.STARTING:
        return kill(enter(lost, State.UNHEALTHY, now)) if lost.running else (lost, ())
    return enter(replace(lost, dying=True), State.UNHEALTHY, now, now + limits.leave_routes_s), ()


def note_exited(replica: Replica, event: Exited, now: float, limits: Limits) -> Step:
    # Where it was killed, the reason for that is worth more than the signal it died of.
    return back_off(make_gone(replica), replica.message if replica.dying else event.reason, now, limits)


def stop_fetching(replica: Replica, event: Unwanted, now: float, limits: Limits) -> Step:
    return enter(replica, State.STOPPED, now), (CancelFetch(),)


def stop_waiting(replica: Replica, event: Unwanted, now: float, limits: Limits) -> Step:
    return enter(replica, State.STOPPED, now), ()


def stop_starting(replica: Replica, event: Unwanted, now: float, limits: Limits) -> Step:
    """It never had a request, so there is nothing to finish."""
    draining = enter(replace(replica, message="stopped before it was ready"), State.DRAINING, now)
    return kill(draining) if replica.running else (draining, ())


def drain(replica: Replica, event: Unwanted, now: float, limits: Limits) -> Step:
    draining = replace(replica, message="finishes what it began", leaving=False)
    if replica.dying and not replica.leaving:
        return enter(draining, State.DRAINING, now, replica.wake_at), ()
    return enter(draining, State.DRAINING, now, now + limits.drain_timeout_s), (Terminate(),)


def kill_at_once(replica: Replica, event: Event, now: float, limits: Limits) -> Step:
    return kill(replace(replica, running=True))


def note_stopped(replica: Replica, event: Exited | LaunchFailed, now: float, limits: Limits) -> Step:
    return enter(replace(make_gone(replica), message=""), State.STOPPED, now), ()
