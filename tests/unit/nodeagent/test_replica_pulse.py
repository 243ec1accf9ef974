"""A server that hangs is told from one that is busy, and soon."""

import pytest

from nodeagent.replica_commands import Command, Kill, Probe
from nodeagent.replica_events import (
    Adopted,
    Due,
    Event,
    Exited,
    Fetched,
    Launched,
    Listening,
    NoPulse,
    ProbeFailed,
    ProbeOk,
    Pulse,
    Unwanted,
    Wanted,
)
from nodeagent.replica_machine import handle
from nodeagent.replica_state import Limits, Replica, State

LIMITS = Limits(hung_after=3, kill_hung_after=10, probe_interval_s=2.0, probe_timeout_s=5.0)
STOPPED = NoPulse(1, "TTTT", 0.0)
ASLEEP = NoPulse(1, "SSSS", 0.001)
ON_DISK = NoPulse(1, "SSDS", 0.0)
RUNNABLE = NoPulse(1, "SSRS", 0.0)
WORKING = NoPulse(1, "SSSS", 0.9)


def tell(replica: Replica, *events: Event, now: float = 100.0) -> tuple[Replica, list[Command]]:
    """The replica after these events, which happen at once, and all their commands."""
    commands: list[Command] = []
    for event in events:
        replica, more = handle(replica, event, now, LIMITS)
        commands.extend(more)
    return replica, commands


@pytest.fixture
def ready() -> Replica:
    return tell(Replica(), Wanted(), Fetched(), Launched(1), Listening(1, 4000), Pulse(1), ProbeOk(1, 0.01))[0]


@pytest.mark.parametrize(
    ("silence", "why"), [(STOPPED, "is stopped"), (ASLEEP, "does nothing"), (ON_DISK, "waits for a disk")]
)
def test_one_that_is_silent_and_idle_leaves_the_routes(ready: Replica, silence: NoPulse, why: str) -> None:
    replica, _ = tell(ready, *[silence] * 2)
    assert replica.state is State.READY
    replica, commands = tell(replica, silence)
    assert (replica.state, commands) == (State.UNHEALTHY, [])
    assert replica.message == f"it hangs: it answers nothing, and its process {why}"


@pytest.mark.parametrize("silence", [STOPPED, ASLEEP])
def test_one_that_stays_so_is_killed_once_and_comes_back(ready: Replica, silence: NoPulse) -> None:
    replica, commands = tell(ready, *[silence] * 9)
    assert commands == []
    replica, commands = tell(replica, *[silence] * 5)
    assert commands == [Kill()]
    # What was asked before the kill may still be answered, or fail.
    replica, commands = tell(replica, Pulse(1), ProbeOk(1, 0.01), ProbeFailed(1, "cut"), Exited(1, "SIGKILL"))
    assert (replica.state, commands) == (State.BACKOFF, [])
    assert "it hangs" in replica.message


@pytest.mark.parametrize("silence", [RUNNABLE, WORKING])
def test_one_that_is_busy_is_left_to_its_probes(ready: Replica, silence: NoPulse) -> None:
    replica, commands = tell(ready, *[silence] * 1000)
    assert (replica.state, replica.message, commands) == (State.READY, "", [])


def test_a_disk_that_does_not_answer_is_no_reason_to_kill(ready: Replica) -> None:
    replica, commands = tell(ready, *[ON_DISK] * 1000)
    assert (replica.state, commands) == (State.UNHEALTHY, [])


@pytest.mark.parametrize("sign", [Pulse(1), RUNNABLE, WORKING, ProbeOk(1, 0.01)])
def test_any_sign_of_life_starts_the_count_anew(ready: Replica, sign: Event) -> None:
    replica, _ = tell(ready, ASLEEP, ASLEEP, sign, ASLEEP, ASLEEP)
    assert replica.state is State.READY


def test_one_that_wakes_up_is_probed_soon_and_ready_again(ready: Replica) -> None:
    slow, _ = tell(ready, ProbeOk(1, 20.0))
    assert slow.wake_at == 500.0  # its next probe, were it well
    replica, _ = tell(slow, *[STOPPED] * 5)
    assert replica.wake_at == 102.0
    replica, commands = tell(replica, Pulse(1), Due(), now=102.0)
    assert commands == [Probe(1, timeout_s=100.0)]
    assert replica.state is State.UNHEALTHY
    replica, _ = tell(replica, ProbeOk(1, 20.0), now=122.0)
    assert (replica.state, replica.message) == (State.READY, "")


def test_a_hang_while_a_probe_is_under_way_waits_for_that_probe(ready: Replica) -> None:
    probing, _ = tell(ready, Due(), now=102.0)
    replica, _ = tell(probing, *[STOPPED] * 3, now=105.0)
    assert (replica.state, replica.wake_at) == (State.UNHEALTHY, None)
    replica, _ = tell(replica, ProbeFailed(1, "no answer"), now=107.0)
    assert (replica.state, replica.wake_at) == (State.UNHEALTHY, 109.0)


def test_probes_that_fail_for_another_reason_still_count_by_themselves(ready: Replica) -> None:
    replica, _ = tell(ready, *[Pulse(1), ProbeFailed(1, "wrong answer")] * 3)
    assert (replica.state, replica.message) == (State.UNHEALTHY, "3 probes in a row failed: wrong answer")


def test_an_adopted_one_that_hangs_is_killed_too() -> None:
    replica, commands = tell(Replica(), Adopted(4000, restarts=0), *[STOPPED] * 10)
    assert (replica.state, commands[-1]) == (State.UNHEALTHY, Kill())


def test_a_start_and_a_drain_have_limits_of_their_own(ready: Replica) -> None:
    starting, commands = tell(Replica(), Wanted(), Fetched(), Launched(1), Listening(1, 4000), *[STOPPED] * 20)
    assert starting.state is State.STARTING
    assert Kill() not in commands
    assert tell(starting, ProbeOk(1, 0.01), STOPPED)[0].state is State.READY
    draining, commands = tell(ready, Unwanted(), *[STOPPED] * 20, Pulse(1))
    assert draining.state is State.DRAINING
    assert Kill() not in commands


def test_news_of_a_process_that_has_ended_are_out_of_date(ready: Replica) -> None:
    gone, _ = tell(ready, STOPPED, STOPPED, Exited(1, "crashed"))
    replica, commands = tell(gone, STOPPED, Pulse(1))
    assert (replica, commands) == (gone, [])
    again, _ = tell(gone, Due(), Fetched(), Launched(2), Listening(2, 4001), ProbeOk(2, 0.01), now=101.0)
    assert tell(again, STOPPED, NoPulse(2, "TT", 0.0))[0].silent == 1
