"""What a reading of its memory makes of a replica. No I/O, no clock."""

from dataclasses import replace

from modelyard.sizes import format_size
from nodeagent.replica_events import MemoryRead
from nodeagent.replica_state import Limits, Replica, State
from nodeagent.replica_steps import Step, enter, kill

_STEP_BYTES = 1 << 20
# A change of less than one part in so many of what was told last is not worth a report.
_TOLD_SHARE = 16


def read_memory(replica: Replica, event: MemoryRead, now: float, limits: Limits) -> Step:
    after = _note(replica, event)
    if replica.dying or after.over_memory < limits.over_memory_after:
        was_told = replica.state is State.READY and replica.over_memory >= limits.over_memory_after
        return replace(after, message="") if was_told else after, ()
    message = _explain_growth(after, event)
    if event.is_stated:
        return _end_for_memory(replace(after, message=message), now, limits)
    return replace(after, message=message) if after.state is State.READY else after, ()


def _end_for_memory(replica: Replica, now: float, limits: Limits) -> Step:
    """Out of the routes, then a short while for what it had begun: a long one may cost others here their memory."""
    if replica.state is State.STARTING:
        return kill(enter(replica, State.UNHEALTHY, now))
    ending = replace(replica, dying=True, leaving=True, finish_s=limits.over_memory_finish_s)
    return enter(ending, State.UNHEALTHY, now, now + limits.leave_routes_s), ()


def keep_memory(replica: Replica, event: MemoryRead, now: float, limits: Limits) -> Step:
    return _note(replica, event), ()


def _note(replica: Replica, event: MemoryRead) -> Replica:
    over = replica.over_memory + 1 if _is_over(event.used_bytes, event.given_bytes) else 0
    told = _compute_told_bytes(replica.memory_used_bytes, event)
    return replace(replica, memory_used_bytes=told, over_memory=over)


def _compute_told_bytes(told: int, event: MemoryRead) -> int:
    """In whole MiB, and the same as before unless it moved by a good part, or across what was given."""
    used, given = event.used_bytes, event.given_bytes
    if abs(used - told) * _TOLD_SHARE <= told and _is_over(used, given) == _is_over(told, given):
        return told
    return -(-used // _STEP_BYTES) * _STEP_BYTES


def _is_over(used_bytes: int, given_bytes: int) -> bool:
    return 0 < given_bytes < used_bytes


def _explain_growth(replica: Replica, event: MemoryRead) -> str:
    held, given = format_size(replica.memory_used_bytes), format_size(event.given_bytes)
    if event.is_stated:
        return f"it grew to {held}, more than the {given} it was given; deploy it with more --memory"
    return f"it holds {held}, more than the {given} estimated for it; deploy it with --memory, so that it has enough"
