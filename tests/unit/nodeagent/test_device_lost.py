"""Whose GPU cannot be used any more leaves the routes, finishes, ends, and only then starts again."""

import pytest

from nodeagent.replica_commands import Command, FetchArtifact, Kill, Terminate
from nodeagent.replica_events import (
    DeviceLost,
    Due,
    Event,
    Exited,
    Fetched,
    Launched,
    LaunchFailed,
    Listening,
    ProbeOk,
    Unwanted,
    Wanted,
)
from nodeagent.replica_machine import handle
from nodeagent.replica_state import Limits, Replica, State

LIMITS = Limits()
LOST = DeviceLost("its MPS daemon has ended")
STARTING = (Wanted(), Fetched(), Launched(1))
READY = (*STARTING, Listening(1, 7000), ProbeOk(1, 0.01))


class Script:
    def __init__(self, *events: Event) -> None:
        self.replica, self.now = Replica(), 100.0
        self.on(*events)

    def on(self, *events: Event) -> list[Command]:
        asked: list[Command] = []
        for event in events:
            self.replica, commands = handle(self.replica, event, self.now, LIMITS)
            asked += commands
        return asked

    def wait(self) -> list[Command]:
        assert self.replica.wake_at is not None
        self.now = self.replica.wake_at
        return self.on(Due())


def test_it_leaves_the_routes_then_finishes_then_is_killed_and_tells_why_all_along() -> None:
    script = Script(*READY)
    assert script.on(LOST) == []
    assert (script.replica.state, script.replica.message) == (State.UNHEALTHY, LOST.reason)
    assert script.wait() == [Terminate()]
    assert script.wait() == [Kill()]
    script.on(Exited(1, "its process was killed by SIGKILL"))
    assert (script.replica.state, script.replica.message) == (State.BACKOFF, LOST.reason)
    assert script.wait() == [FetchArtifact()]


def test_one_that_ends_when_it_is_asked_to_is_not_killed() -> None:
    script = Script(*READY, LOST)
    script.wait()
    assert script.on(Exited(1, "its process ended with code 0")) == []
    assert script.replica.message == LOST.reason


def test_a_probe_that_succeeds_meanwhile_does_not_bring_it_back() -> None:
    script = Script(*READY, LOST)
    script.on(ProbeOk(1, 0.01))
    assert script.replica.state is State.UNHEALTHY


def test_one_that_serves_nobody_yet_is_killed_at_once() -> None:
    assert Script(*STARTING).on(LOST) == [Kill()]


def test_one_whose_process_is_just_being_made_is_killed_when_it_is_there() -> None:
    script = Script(Wanted(), Fetched())
    assert script.on(LOST) == []
    assert script.on(Launched(1)) == [Kill()]
    assert script.replica.state is State.UNHEALTHY


def test_that_does_not_follow_it_into_its_next_start() -> None:
    script = Script(Wanted(), Fetched(), LOST, LaunchFailed(1, "no"))
    script.wait()
    script.on(Fetched(), Launched(2))
    assert script.replica.state is State.STARTING


def test_unwanted_meanwhile_it_is_asked_to_end_at_once_for_no_router_knows_it_any_more() -> None:
    script = Script(*READY, LOST)
    assert script.on(Unwanted()) == [Terminate()]
    assert script.wait() == [Kill()]


@pytest.mark.parametrize(
    "events",
    [
        (Wanted(),),
        (*READY, Unwanted()),
        (*READY, Exited(1, "x")),
        (*READY, Unwanted(), Exited(1, "x")),
        (*READY, LOST),
    ],
)
def test_where_nothing_uses_the_device_or_it_ends_already_nothing_changes(events: tuple[Event, ...]) -> None:
    script = Script(*events)
    before = script.replica
    assert script.on(LOST) == []
    assert (script.replica.state, script.replica.wake_at) == (before.state, before.wake_at)
