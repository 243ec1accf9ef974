"""Steps of a replica's life while its server runs: what probes and the pulse make of it. Pure."""

from dataclasses import replace

from nodeagent.replica_commands import Terminate
from nodeagent.replica_events import Due, NoPulse, ProbeFailed, ProbeOk, Pulse
from nodeagent.replica_state import Limits, Replica, State
from nodeagent.replica_steps import Step, enter, kill, make_probe


def _next_probe_at(took_s: float, now: float, limits: Limits) -> float:
    return now + max(limits.probe_interval_s, took_s * limits.probe_share)


def become_ready(replica: Replica, event: ProbeOk, now: float, limits: Limits) -> Step:
    if replica.dying:
        return replica, ()
    ready = replace(replica, failed_probes=0, silent=0, canary_s=event.took_s, message="")
    return enter(ready, State.READY, now, _next_probe_at(event.took_s, now, limits)), ()


def stay_ready(replica: Replica, event: ProbeOk, now: float, limits: Limits) -> Step:
    failures = 0 if now - replica.since >= limits.stable_after_s else replica.failures
    wake_at = _next_probe_at(event.took_s, now, limits)
    after = replace(replica, failed_probes=0, silent=0, failures=failures, canary_s=event.took_s, wake_at=wake_at)
    return after, ()


def note_probe_failed(replica: Replica, event: ProbeFailed, now: float, limits: Limits) -> Step:
    if replica.dying:
        return replica, ()
    failed = replica.failed_probes + 1
    after = replace(replica, failed_probes=failed, wake_at=now + limits.probe_interval_s)
    if failed < limits.unhealthy_after:
        return after, ()
    after = replace(after, message=f"{failed} probes in a row failed: {event.reason}")
    if replica.state is not State.UNHEALTHY:
        after = enter(after, State.UNHEALTHY, now, after.wake_at)
    return kill(after) if failed >= limits.kill_after else (after, ())


def go_on_watching(replica: Replica, event: Due, now: float, limits: Limits) -> Step:
    if replica.leaving:
        finish_s = replica.finish_s or limits.drain_timeout_s
        return replace(replica, leaving=False, wake_at=now + finish_s), (Terminate(),)
    if replica.dying:  # it had its time to finish
        return kill(replica)
    return replace(replica, wake_at=None), (make_probe(replica, limits),)


def note_pulse(replica: Replica, event: Pulse, now: float, limits: Limits) -> Step:
    return replace(replica, silent=0), ()


def note_silence(replica: Replica, event: NoPulse, now: float, limits: Limits) -> Step:
    if replica.dying:
        return replica, ()
    after = replace(replica, silent=0 if _is_busy(event, limits) else replica.silent + 1)
    if after.silent < limits.hung_after:
        return after, ()
    after = replace(after, message=f"it hangs: it answers nothing, and its process {_tell_idleness(event)}")
    if after.state is State.READY:
        # A slow model's next probe may be minutes away: too long to wait for one that lets it back.
        wake_at = after.wake_at and min(after.wake_at, now + limits.probe_interval_s)
        after = enter(after, State.UNHEALTHY, now, wake_at)
    return kill(after) if after.silent >= limits.kill_hung_after and _can_be_killed(event) else (after, ())


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
