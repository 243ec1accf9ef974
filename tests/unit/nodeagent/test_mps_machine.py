"""The life of one GPU's MPS daemon, as a script without a daemon and without waiting."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.devices import mps_state as mps
from nodeagent.devices.mps_machine import IllegalMpsTransitionError, compute_backoff_s, handle
from nodeagent.devices.mps_state import EDGES, Mps, MpsLimits, State

LIMITS = MpsLimits()


@dataclass
class Story:
    """`asked`: all that was commanded so far."""

    machine: Mps = field(default_factory=Mps)
    now: float = 1000.0
    asked: list[mps.Command] = field(default_factory=list)

    def tell(self, *events: mps.Event) -> "Story":
        for event in events:
            self.machine, commands = handle(self.machine, event, self.now, LIMITS)
            self.asked += commands
        return self

    def wait(self) -> "Story":
        assert self.machine.wake_at is not None
        self.now = max(self.now, self.machine.wake_at)
        return self.tell(mps.Due())

    def take(self) -> list[mps.Command]:
        asked, self.asked = self.asked, []
        return asked


def running(*users: str) -> Story:
    story = Story().tell(*(mps.Joined(user) for user in users), mps.Answered())
    story.take()
    return story


def test_the_first_who_wants_a_share_starts_it_and_the_second_joins() -> None:
    story = Story().tell(mps.Joined("a"), mps.Joined("b"))
    assert story.take() == [mps.Start()]
    story.tell(mps.Answered(), mps.Joined("c"))
    assert (story.machine.state, story.machine.users) == (State.RUNNING, frozenset("abc"))
    assert story.take() == []


def test_it_is_looked_at_again_and_again_while_it_runs() -> None:
    story = running("a")
    for _ in range(3):
        assert story.wait().take() == [mps.Check()]
        story.tell(mps.Answered())


@pytest.mark.parametrize("broken", [mps.Broken("its MPS daemon has ended"), mps.Broken("FAULT")])
def test_a_broken_one_is_ended_after_its_last_client_and_started_again_after_that(broken: mps.Broken) -> None:
    story = running("a", "b")
    story.tell(broken)
    assert story.take() == [mps.Drain(broken.reason)]
    story.tell(mps.Left("a"))
    assert story.take() == []
    story.tell(mps.Left("b"))
    assert story.take() == [mps.Stop()]
    story.tell(mps.Stopped()).wait().tell(mps.Joined("a"))
    assert story.machine.state is State.STARTING
    assert story.take() == [mps.Start()]


def test_it_hangs_after_several_checks_without_an_answer_in_a_row() -> None:
    story = running("a")
    for _ in range(LIMITS.silent_after - 1):
        story.wait().tell(mps.Silent("no answer"))
    story.wait().tell(mps.Answered())
    for _ in range(LIMITS.silent_after - 1):
        story.wait().tell(mps.Silent("no answer"))
    assert story.machine.state is State.RUNNING
    story.take()
    story.wait().tell(mps.Silent("no answer"))
    assert story.take() == [mps.Check(), mps.Drain("its MPS daemon hangs: no answer")]


def test_nobody_joins_one_that_is_drained() -> None:
    story = running("a").tell(mps.Broken("x"), mps.Joined("b"))
    assert story.machine.users == {"a"}


def test_a_client_that_does_not_leave_does_not_hold_it_up_for_ever() -> None:
    story = running("a").tell(mps.Broken("x"))
    story.take()
    assert story.wait().take() == [mps.Stop()]
    story.tell(mps.Left("a"), mps.Stopped())
    assert story.machine.state is State.FAILED


def test_who_waits_for_one_that_does_not_start_is_told_and_pauses_grow() -> None:
    story, pauses = Story(), []
    for _ in range(4):
        story.tell(mps.Joined("a"), mps.Broken("no permission"))
        assert story.machine.users == frozenset()
        assert "does not start: no permission" in story.machine.reason
        pauses.append(story.machine.wake_at - story.now if story.machine.wake_at else 0)
        story.wait()
        if story.machine.state is State.STARTING:
            story.tell(mps.Broken("no permission")).wait()
    assert pauses == sorted(pauses)
    assert pauses[0] == LIMITS.backoff_first_s


def test_shares_are_given_up_after_several_failures_and_come_back_when_one_starts_again() -> None:
    story = Story()
    for _ in range(LIMITS.give_up_after):
        assert story.machine.why_unusable(LIMITS) == ""
        story.tell(mps.Joined("a"), mps.Broken("no permission"))
        story.take()
        if story.machine.failures < LIMITS.give_up_after:
            story.wait()
    assert "no permission" in story.machine.why_unusable(LIMITS)
    assert story.wait().take() == [mps.Start()]  # nobody asks for shares that are not offered
    story.tell(mps.Answered())
    assert (story.machine.state, story.machine.why_unusable(LIMITS)) == (State.RUNNING, "")


def test_without_clients_it_rests_after_a_while() -> None:
    story = running("a").tell(mps.Left("a"))
    story.take()
    while story.machine.state is State.RUNNING:
        story.wait()
        if story.machine.state is State.RUNNING:
            story.tell(mps.Answered())
    assert story.now >= 1000.0 + LIMITS.idle_s
    assert story.take()[-1] == mps.Stop()
    assert story.tell(mps.Stopped()).machine.state is State.OFF


def test_whoever_joins_before_that_keeps_it() -> None:
    story = running("a").tell(mps.Left("a"))
    story.now += LIMITS.idle_s - 1
    story.tell(mps.Joined("b"))
    story.now += LIMITS.idle_s
    story.tell(mps.Due(), mps.Answered())
    assert story.machine.state is State.RUNNING


def test_one_without_clients_makes_room_for_who_gets_the_whole_gpu() -> None:
    assert running("a").tell(mps.Vacate()).take() == []
    story = running("a").tell(mps.Left("a"), mps.Vacate())
    assert story.take() == [mps.Stop()]
    assert Story().tell(mps.Vacate()).take() == []


def test_an_adopted_one_goes_on_with_the_replicas_that_are_found() -> None:
    story = Story().tell(mps.Adopted(), mps.Found("a"))
    story.now += LIMITS.idle_s + 1
    assert story.tell(mps.Due()).take() == [mps.Check()]


def test_a_replica_whose_daemon_is_gone_is_drained() -> None:
    story = Story().tell(mps.Found("a"))
    story.tell(mps.Found("b"))
    assert story.take() == [mps.Drain("its MPS daemon has ended")] * 2
    assert story.tell(mps.Left("a"), mps.Left("b")).take() == [mps.Stop()]


def test_a_replica_that_is_found_after_its_daemon_was_given_up_is_drained_before_another_is_started() -> None:
    story = Story().tell(mps.Adopted(), mps.Broken("x"), mps.Stopped())
    assert story.machine.state is State.FAILED
    story.take()
    assert story.tell(mps.Found("a")).take() == [mps.Drain("x")]
    assert story.tell(mps.Joined("b")).machine.users == {"a"}
    assert story.tell(mps.Left("a")).take() == [mps.Stop()]
    assert story.tell(mps.Stopped()).machine.state is State.FAILED


def test_a_replica_that_is_found_while_an_idle_daemon_ends_is_told_why_it_has_to_leave() -> None:
    story = Story().tell(mps.Adopted(), mps.Vacate())
    story.take()
    assert story.tell(mps.Found("a")).take() == [mps.Drain("its MPS daemon has ended")]


def test_answers_to_checks_that_were_on_their_way_change_nothing_while_it_drains() -> None:
    story = running("a").tell(mps.Broken("x"))
    before = story.machine
    assert story.tell(mps.Answered(), mps.Silent("y"), mps.Broken("z")).machine == before


def test_what_cannot_happen_is_a_defect() -> None:
    with pytest.raises(IllegalMpsTransitionError, match="cannot happen to MPS that is off"):
        Story().tell(mps.Answered())


def test_pauses_have_a_limit() -> None:
    assert compute_backoff_s(10_000, LIMITS) == LIMITS.backoff_max_s


# What the world may answer to each command, and what may come at any time.
_ANSWERS: dict[type, list[mps.Event]] = {
    mps.Start: [mps.Answered(), mps.Broken("s")],
    mps.Check: [mps.Answered(), mps.Silent("c"), mps.Broken("c")],
    mps.Stop: [mps.Stopped()],
    mps.Drain: [],
}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_happens_no_daemon_is_started_before_the_last_one_has_ended_and_its_clients_with_it(
    data: st.DataObject,
) -> None:
    story, is_there, pending = Story(), False, list[mps.Command]()
    alive: set[str] = set()  # processes on the daemon
    strays: set[str] = set()  # those that outlived theirs: it ended all the same after `drain_s`
    for _ in range(data.draw(st.integers(1, 60))):
        may_join = {"a", "b"} - story.machine.users - strays
        free: list[mps.Event] = [mps.Vacate(), *(mps.Joined(name) for name in sorted(may_join))]
        free += [mps.Left(name) for name in sorted(alive | strays)]
        choices = free + [answer for command in pending for answer in _ANSWERS[type(command)]]
        event = data.draw(st.sampled_from(choices)) if data.draw(st.booleans()) else mps.Due()
        if isinstance(event, mps.Due):
            story.now += data.draw(st.sampled_from([0.1, 3.0, 40.0, 400.0]))
        elif event not in free:
            pending = [command for command in pending if event not in _ANSWERS[type(command)]]
        was = story.machine.state
        story.tell(event)
        assert story.machine.state is was or story.machine.state in EDGES[was]
        if isinstance(event, mps.Left):
            alive.discard(event.replica_id)
            strays.discard(event.replica_id)
        if isinstance(event, mps.Stopped):
            strays, alive = strays | alive, set()
        if isinstance(event, mps.Stopped) or (isinstance(event, mps.Broken) and was is State.STARTING):
            is_there = False
        for command in story.take():
            if isinstance(command, mps.Start):
                assert not is_there
                is_there = True
            if isinstance(command, mps.Stop):
                assert not alive or story.machine.since + LIMITS.drain_s <= story.now
                pending = []  # a check is given up
            pending.append(command)
        if story.machine.state is State.RUNNING:
            alive |= story.machine.users
    if story.machine.state in (State.STARTING, State.DRAINING):  # it never waits for nothing
        assert pending or story.machine.wake_at is not None
    else:
        assert story.machine.state is State.OFF or story.machine.wake_at is not None or pending
