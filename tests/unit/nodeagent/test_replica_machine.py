"""The life of a replica, told as scripts."""

from dataclasses import replace

import pytest

from nodeagent.replica_commands import (
    CancelFetch,
    Command,
    FetchArtifact,
    Kill,
    Launch,
    Probe,
    Terminate,
)
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
    ProbeFailed,
    ProbeOk,
    Unwanted,
    Wanted,
)
from nodeagent.replica_machine import IllegalTransitionError, handle
from nodeagent.replica_state import Limits, Replica, State
from nodeagent.replica_steps import compute_backoff_s

LIMITS = Limits(
    start_timeout_s=60.0,
    start_probe_interval_s=0.25,
    probe_interval_s=2.0,
    probe_timeout_s=5.0,
    unhealthy_after=3,
    kill_after=6,
    backoff_first_s=0.5,
    backoff_max_s=30.0,
    stable_after_s=60.0,
    drain_timeout_s=35.0,
)


class Script:
    """A replica and its clock, in seconds."""

    def __init__(self) -> None:
        self.replica = Replica()
        self.now = 100.0

    def on(self, *events: Event) -> list[Command]:
        """All commands of these events, which happen at once."""
        commands: list[Command] = []
        for event in events:
            self.replica, more = handle(self.replica, event, self.now, LIMITS)
            commands.extend(more)
        return commands

    def later(self, seconds: float, *events: Event) -> list[Command]:
        self.now += seconds
        return self.on(*events)

    @property
    def state(self) -> State:
        return self.replica.state

    @property
    def wakes_in(self) -> float | None:
        return None if self.replica.wake_at is None else self.replica.wake_at - self.now


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def ready() -> Script:
    script = Script()
    script.on(Wanted(), Fetched(), Launched(1), Listening(1, 4000), ProbeOk(1, 0.01))
    return script


def test_from_wanted_to_ready_to_gone(script: Script) -> None:
    assert script.on(Wanted()) == [FetchArtifact()]
    assert script.on(Fetched()) == [Launch(1)]
    assert script.on(Launched(1)) == []
    assert (script.state, script.wakes_in) == (State.STARTING, 60.0)
    assert script.later(10, Listening(1, 4000)) == [Probe(1, timeout_s=50.0)]
    assert script.on(ProbeOk(1, 0.01)) == []
    assert (script.state, script.wakes_in, script.replica.port) == (State.READY, 2.0, 4000)
    assert script.later(2, Due()) == [Probe(1, timeout_s=5.0)]
    assert script.on(ProbeOk(1, 0.01)) == []
    assert script.on(Unwanted()) == [Terminate()]
    assert (script.state, script.wakes_in) == (State.DRAINING, 35.0)
    assert script.on(Exited(1, "its process ended with code 0")) == []
    assert (script.state, script.replica.restarts) == (State.STOPPED, 0)


def test_a_crash_is_followed_by_a_pause_and_a_new_process(ready: Script) -> None:
    assert ready.on(Exited(1, "it was killed by SIGKILL")) == []
    assert (ready.state, ready.wakes_in, ready.replica.message) == (State.BACKOFF, 0.5, "it was killed by SIGKILL")
    assert ready.replica.port == 0
    assert ready.later(0.5, Due()) == [FetchArtifact()]
    assert ready.on(Fetched()) == [Launch(2)]
    ready.on(Launched(2), Listening(2, 4001), ProbeOk(2, 0.01))
    assert (ready.state, ready.replica.restarts, ready.replica.message) == (State.READY, 1, "")


def test_each_failure_in_a_row_doubles_the_pause_up_to_a_limit(script: Script) -> None:
    script.on(Wanted())
    pauses = []
    for _ in range(9):
        script.on(FetchFailed("the controller is away"))
        assert script.wakes_in
        pauses.append(script.wakes_in)
        assert script.later(script.wakes_in, Due()) == [FetchArtifact()]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert compute_backoff_s(10_000, LIMITS) == 30.0
    assert script.replica.restarts == 0


def test_a_stable_stretch_makes_failures_forgotten(ready: Script) -> None:
    ready.replica = replace(ready.replica, failures=6)
    ready.later(59.9, Due(), ProbeOk(1, 0.01))
    assert ready.replica.failures == 6
    ready.later(2, Due(), ProbeOk(1, 0.01), Exited(1, "crashed"))
    assert ready.wakes_in == 0.5


def test_probes_that_fail_in_a_row_take_it_out_and_then_end_it(ready: Script) -> None:
    for _ in range(2):
        assert ready.later(2, Due(), ProbeFailed(1, "no answer")) == [Probe(1, 5.0)]
        assert ready.state is State.READY
    assert ready.later(2, Due(), ProbeFailed(1, "no answer")) == [Probe(1, 5.0)]
    assert (ready.state, ready.replica.message) == (State.UNHEALTHY, "3 probes in a row failed: no answer")
    for _ in range(2):
        assert ready.later(2, Due(), ProbeFailed(1, "no answer")) == [Probe(1, 5.0)]
    assert ready.later(2, Due(), ProbeFailed(1, "no answer")) == [Probe(1, 5.0), Kill()]
    assert ready.on(Exited(1, "it was killed by SIGKILL")) == []
    # The reason for the kill, not the kill.
    assert (ready.state, ready.replica.message) == (State.BACKOFF, "6 probes in a row failed: no answer")


def test_an_unhealthy_replica_that_answers_again_is_ready(ready: Script) -> None:
    for _ in range(3):
        ready.later(2, Due(), ProbeFailed(1, "no answer"))
    assert ready.later(2, Due()) == [Probe(1, 5.0)]
    ready.on(ProbeOk(1, 0.01))
    assert (ready.state, ready.replica.failed_probes, ready.replica.message) == (State.READY, 0, "")


def test_a_probe_that_fails_now_and_then_changes_nothing(ready: Script) -> None:
    for _ in range(10):
        ready.later(2, Due(), ProbeFailed(1, "no answer"))
        ready.later(2, Due(), ProbeOk(1, 0.01))
    assert ready.state is State.READY


def test_a_slow_model_is_probed_more_rarely_and_given_more_time(ready: Script) -> None:
    ready.later(2, Due(), ProbeOk(1, 3.0))
    assert ready.wakes_in == 60.0
    assert ready.later(60, Due()) == [Probe(1, timeout_s=15.0)]


def test_the_first_canary_is_tried_again_until_the_time_to_start_is_over(script: Script) -> None:
    script.on(Wanted(), Fetched(), Launched(1), Listening(1, 4000), ProbeFailed(1, "connection refused"))
    assert (script.state, script.wakes_in) == (State.STARTING, 0.25)
    assert script.later(0.25, Due()) == [Probe(1, timeout_s=59.75)]
    assert script.later(59.75, Due()) == [Kill()]
    assert script.state is State.UNHEALTHY
    # This answer comes too late.
    assert script.on(ProbeOk(1, 60.0), Exited(1, "it was killed by SIGKILL")) == []
    assert script.replica.state == State.BACKOFF
    assert script.replica.message == "not ready 60 s after its start: connection refused"


def test_what_fails_at_the_start_backs_off(script: Script) -> None:
    script.on(Wanted(), Fetched(), LaunchFailed(1, "no such core"))
    assert (script.state, script.replica.message, script.replica.restarts) == (State.BACKOFF, "no such core", 0)
    script.later(0.5, Due(), Fetched(), Launched(2), Exited(2, "its process ended with code 1: not a model"))
    assert (script.state, script.replica.failures, script.wakes_in) == (State.BACKOFF, 2, 1.0)


def test_unwanted_while_fetching_or_waiting_it_stops_at_once(script: Script) -> None:
    assert script.on(Wanted(), Unwanted()) == [FetchArtifact(), CancelFetch()]
    assert script.state is State.STOPPED
    assert script.on(Fetched()) == []  # it crossed with the end
    waiting = Script()
    waiting.on(Wanted(), FetchFailed("away"), Unwanted())
    assert waiting.state is State.STOPPED


def test_unwanted_while_starting_it_is_killed(script: Script) -> None:
    assert script.on(Wanted(), Fetched(), Launched(1), Unwanted())[-1] == Kill()
    script.on(Listening(1, 4000))
    assert script.state is State.DRAINING
    script.on(Exited(1, "killed"))
    assert script.replica.state is State.STOPPED


def test_unwanted_while_its_launch_is_under_way_it_is_killed_as_soon_as_there_is_something_to_kill(
    script: Script,
) -> None:
    assert script.on(Wanted(), Fetched(), Unwanted()) == [FetchArtifact(), Launch(1)]
    assert script.on(Launched(1)) == [Kill()]
    script.on(Exited(1, "killed"))
    assert script.state is State.STOPPED


def test_a_drain_that_does_not_end_is_ended(ready: Script) -> None:
    ready.on(Unwanted(), Unwanted(), ProbeOk(1, 0.01))
    assert ready.later(34.9, Due()) == []
    assert ready.later(0.2, Due()) == [Kill()]
    ready.on(Exited(1, "killed"))
    assert ready.state is State.STOPPED


def test_an_adopted_process_is_probed_before_it_counts_as_ready(script: Script) -> None:
    assert script.on(Adopted(port=4000, restarts=2, canary_s=2.0)) == [Probe(1, timeout_s=10.0)]
    assert script.state is State.UNHEALTHY
    script.on(ProbeOk(1, 0.01))
    assert (script.state, script.replica.port, script.replica.restarts) == (State.READY, 4000, 2)
    script.on(Exited(1, "crashed"))
    assert script.later(0.5, Due(), Fetched()) == [FetchArtifact(), Launch(2)]
    script.on(Launched(2))
    assert script.replica.restarts == 3


def test_an_adopted_process_that_hangs_is_replaced(script: Script) -> None:
    script.on(Adopted(port=4000, restarts=0), ProbeFailed(1, "no answer"))
    script.later(2, Due(), ProbeFailed(1, "no answer"))
    assert script.later(2, Due(), ProbeFailed(1, "no answer"))[-1] == Kill()


def test_an_adopted_process_that_was_still_starting_goes_on_starting(script: Script) -> None:
    assert script.on(Adopted(port=0, restarts=0)) == []
    assert script.on(Listening(1, 4000)) == [Probe(1, timeout_s=60.0)]
    script.on(ProbeOk(1, 0.01))
    assert script.state is State.READY


def test_news_of_an_earlier_process_are_out_of_date(ready: Script) -> None:
    ready.on(Exited(1, "crashed"), ProbeOk(1, 0.01))
    ready.later(0.5, Due(), Fetched(), Launched(2), ProbeOk(1, 0.01), ProbeFailed(1, "no"), Listening(1, 4000))
    assert (ready.state, ready.replica.port) == (State.STARTING, 0)


def test_a_timer_that_was_set_before_the_last_change_does_nothing(ready: Script) -> None:
    assert ready.later(1.9, Due()) == []
    ready.later(0.1, Due())
    assert ready.later(50, Due()) == []  # a probe is under way, and always answers


def test_what_cannot_be_raises_with_the_story(ready: Script) -> None:
    with pytest.raises(IllegalTransitionError, match=r"Fetched.*ready.*Listening\(launch=1, port=4000\)"):
        ready.on(Fetched())
