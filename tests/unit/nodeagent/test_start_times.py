from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from nodeagent.start_times import StartMoments, StartTimes, compute_start_times


def test_each_part_lasts_until_the_next_one_begins() -> None:
    moments = StartMoments(
        wanted=10.0, fetched=11.0, began=11.25, loaded=12.0, warm=12.5, listening=12.75, answered=13.0
    )
    assert compute_start_times(moments) == StartTimes(1.0, 0.25, 0.75, 0.5, 0.5)


def test_what_a_server_does_not_tell_belongs_to_its_start() -> None:
    moments = StartMoments(wanted=10.0, fetched=11.0, listening=14.0, answered=14.5)
    assert compute_start_times(moments) == StartTimes(1.0, 3.0, 0.0, 0.0, 0.5)


@given(st.lists(st.floats(0.001, 1e6), min_size=7, max_size=7))
def test_whatever_a_server_says_no_part_is_negative_and_all_are_the_whole(values: list[float]) -> None:
    wanted, fetched, answered = sorted(values[:3])
    began, loaded, warm, listening = values[3:]
    times = compute_start_times(StartMoments(wanted, fetched, began, loaded, warm, listening, answered))
    assert min(astuple(times)) >= 0
    assert abs(sum(astuple(times)) - (answered - wanted)) < 1e-4
