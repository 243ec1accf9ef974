"""A replica and its memory, told as scripts."""

import pytest

from nodeagent.replica_commands import FetchArtifact, Kill, Terminate
from nodeagent.replica_events import (
    Due,
    Exited,
    Fetched,
    Launched,
    Listening,
    MemoryRead,
    ProbeFailed,
    ProbeOk,
    Pulse,
    Unwanted,
    Wanted,
)
from nodeagent.replica_machine import handle
from nodeagent.replica_state import Limits, Replica, State
from tests.unit.nodeagent.test_replica_machine import Script

MIB = 1 << 20
GIVEN = 512 * MIB


def read(used_mib: float, *, is_stated: bool = True, launch: int = 1, given: int = GIVEN) -> MemoryRead:
    return MemoryRead(launch, int(used_mib * MIB), given, is_stated)


@pytest.fixture
def ready() -> Script:
    script = Script()
    script.on(Wanted(), Fetched(), Launched(1), Listening(1, 4000), ProbeOk(1, 0.01))
    return script


def test_what_it_holds_is_told_in_steps(ready: Script) -> None:
    told = []
    for used in (100.2, 100.9, 104, 106, 110, 120, 118, 60):
        ready.on(read(used))
        told.append(ready.replica.memory_used_bytes // MIB)
    assert told == [101, 101, 101, 101, 110, 120, 120, 60]
    assert (ready.state, ready.replica.message) == (State.READY, "")


def test_one_that_stays_over_what_it_was_given_is_ended_and_replaced(ready: Script) -> None:
    assert ready.on(read(600), read(700)) == []
    assert ready.state is State.READY
    assert ready.later(1, read(1331.2)) == []
    # Out of the routes before it is asked to end.
    assert (ready.state, ready.wakes_in) == (State.UNHEALTHY, 3.0)
    assert ready.later(3, Due()) == [Terminate()]
    assert (ready.state, ready.wakes_in) == (State.UNHEALTHY, 5.0)
    message = "it grew to 1.301 GiB, more than the 512 MiB it was given; deploy it with more --memory"
    assert ready.replica.message == message
    assert ready.on(Exited(1, "its process ended with code 0")) == []
    assert (ready.state, ready.replica.message, ready.wakes_in) == (State.BACKOFF, message, 0.5)
    assert (ready.replica.memory_used_bytes, ready.replica.over_memory) == (0, 0)
    assert ready.later(0.5, Due()) == [FetchArtifact()]


def test_one_that_does_not_end_in_time_is_killed(ready: Script) -> None:
    ready.on(read(600), read(600), read(600))
    # Whatever it says meanwhile, it must go.
    assert ready.later(1, read(700), Pulse(1), ProbeOk(1, 0.01), ProbeFailed(1, "no answer"), Due()) == []
    assert ready.state is State.UNHEALTHY
    assert ready.later(2, Due()) == [Terminate()]
    assert ready.later(4, read(500), ProbeOk(1, 0.01), Due()) == []
    assert ready.later(1, Due()) == [Kill()]
    assert ready.wakes_in is None
    ready.on(Exited(1, "it was killed by SIGKILL"))
    assert ready.replica.message.startswith("it grew to 600 MiB")


def test_one_that_is_ended_for_its_memory_and_no_longer_wanted_is_killed_in_time(ready: Script) -> None:
    ready.on(read(600), read(600), read(600))
    ready.later(3, Due())
    assert ready.later(1, Unwanted()) == []
    assert ready.state is State.DRAINING
    assert ready.later(4, Due()) == [Kill()]
    ready.on(Exited(1, "killed"))
    assert ready.replica.state is State.STOPPED


def test_a_peak_is_no_growth(ready: Script) -> None:
    for _ in range(10):
        assert ready.on(read(600), read(600), read(500)) == []
    assert (ready.state, ready.replica.message) == (State.READY, "")


def test_one_that_needs_more_to_load_its_model_is_killed_at_once() -> None:
    script = Script()
    script.on(Wanted(), Fetched(), Launched(1))
    assert script.on(read(600), read(600), read(600)) == [Kill()]
    assert script.state is State.UNHEALTHY
    script.on(Exited(1, "killed"))
    assert script.replica.message.startswith("it grew to 600 MiB, more than the 512 MiB it was given")


def test_more_than_an_estimate_is_told_of_and_no_more(ready: Script) -> None:
    for _ in range(5):
        assert ready.on(read(768, is_stated=False)) == []
    assert ready.state is State.READY
    told = "it holds 768 MiB, more than the 512 MiB estimated for it; deploy it with --memory, so that it has enough"
    assert ready.replica.message == told
    ready.on(read(770, is_stated=False), read(760, is_stated=False))
    assert ready.replica.message == told  # a new sentence for each reading would be a report for each
    ready.on(read(400, is_stated=False))
    assert ready.replica.message == ""


def test_what_a_replica_holds_hides_no_reason_why_it_is_not_ready(ready: Script) -> None:
    for _ in range(3):
        ready.later(2, Due(), ProbeFailed(1, "no answer"))
    for used in (768, 768, 768, 768, 400):
        ready.on(read(used, is_stated=False))
    assert ready.replica.message == "3 probes in a row failed: no answer"
    ready.on(ProbeOk(1, 0.01), read(768, is_stated=False))
    assert ready.replica.message == ""


def test_it_is_told_again_when_a_replica_is_ready_again(ready: Script) -> None:
    ready.on(*[read(768, is_stated=False)] * 3)
    for _ in range(3):
        ready.later(2, Due(), ProbeFailed(1, "no answer"))
    ready.on(ProbeOk(1, 0.01))
    assert ready.replica.message == ""
    ready.on(read(768, is_stated=False))
    assert ready.replica.message.startswith("it holds 768 MiB")


def test_without_an_allocation_nothing_is_too_much(ready: Script) -> None:
    ready.on(*[read(9000, given=0)] * 5)
    assert (ready.state, ready.replica.message) == (State.READY, "")


def test_readings_of_an_earlier_process_are_out_of_date(ready: Script) -> None:
    ready.on(Exited(1, "crashed"), read(600), read(600), read(600))
    assert (ready.state, ready.replica.memory_used_bytes) == (State.BACKOFF, 0)


def test_one_that_leaves_may_finish_whatever_it_holds(ready: Script) -> None:
    assert ready.on(Unwanted(), *[read(600)] * 5) == [Terminate()]
    assert (ready.state, ready.replica.memory_used_bytes) == (State.DRAINING, 600 * MIB)


def test_the_daily_round_is_not_in_the_story() -> None:
    replica = Replica(state=State.READY, launch=1, running=True, port=1)
    after, _ = handle(replica, read(1), 0.0, Limits())
    assert after.story == ()
