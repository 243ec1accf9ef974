"""What the benchmark of model servers makes of its figures."""

import pytest

from benchmarks.model_server_load import percentile
from benchmarks.model_server_report import BARE, Result, Sample, describe, make_goals, ratio
from benchmarks.model_server_targets import BUILTIN, BUILTIN_MERGING, MINIMAL, MLSERVER, TRITON, TRITON_MERGING


def make_result(rates: dict[str, list[float]], *, gain: float = 1.0, callers: tuple[int, ...] = (1, 16)) -> Result:
    """The same rates at each number of callers, a value for each round."""
    samples = {
        (server, count): [Sample(rate, 1.0, 2.0, 0.5) for rate in of_rounds]
        for count in callers
        for server, of_rounds in rates.items()
    }
    return Result("some", gain, dict.fromkeys(callers, 10_000.0), samples)


def test_ratio_is_the_median_over_rounds_of_what_was_measured_side_by_side() -> None:
    result = make_result({BARE: [100.0, 50.0, 10.0], BUILTIN: [90.0, 50.0, 12.0]})
    assert ratio(result, BUILTIN, [BARE], 1) == 1.0


def test_rival_is_the_one_that_was_fastest_in_the_same_round() -> None:
    result = make_result({BARE: [1.0], BUILTIN: [100.0], MINIMAL: [80.0], MLSERVER: [125.0]})
    assert ratio(result, BUILTIN, [MINIMAL, MLSERVER], 1) == pytest.approx(0.8)


def test_goal_tells_the_number_of_callers_where_it_is_furthest_from_being_reached() -> None:
    result = make_result({BARE: [300.0], BUILTIN: [200.0], MINIMAL: [100.0]})
    slow = {(BUILTIN, 16): [Sample(90.0, 1.0, 2.0, 0.5)]}
    [goal] = make_goals(Result(result.model, 1.0, result.echo, {**result.samples, **slow}))
    assert "16 callers" in goal["name"]
    assert (goal["measured"], goal["goal"], goal["better"]) == (0.9, 1.0, "higher")


def test_bare_loop_is_a_rival_of_slow_models_only_and_where_callers_leave_no_gaps() -> None:
    fast = make_result({BARE: [1000.0], BUILTIN: [100.0]})
    assert make_goals(fast) == []
    slow = make_result({BARE: [100.0], BUILTIN: [97.0]})
    [goal] = make_goals(slow)
    assert (goal["measured"], goal["goal"]) == (0.97, 0.95)
    assert make_goals(make_result({BARE: [100.0], BUILTIN: [97.0]}, callers=(1,))) == []


def test_bare_loop_that_was_disturbed_does_not_flatter_the_server() -> None:
    """It got half of the core: what the server takes of CPU tells that it is no faster."""
    quiet = make_result({BARE: [50.0], BUILTIN: [98.0]}, callers=(16,))
    costs = {(BARE, 16): [Sample(50.0, 1.0, 2.0, 9.0)], (BUILTIN, 16): [Sample(98.0, 1.0, 2.0, 10.0)]}
    [goal] = make_goals(Result(quiet.model, 1.0, quiet.echo, costs))
    assert goal["measured"] == 0.9


def test_merging_is_held_to_single_rows_where_the_model_gains_from_it() -> None:
    rates = {BARE: [500.0], BUILTIN_MERGING: [400.0]}
    [goal] = make_goals(make_result(rates, gain=2.0))
    assert (goal["measured"], goal["goal"]) == (0.8, 1.0)
    assert make_goals(make_result(rates, gain=1.05)) == []


def test_servers_that_could_not_be_had_have_no_goals() -> None:
    rates = {BARE: [500.0], BUILTIN: [100.0], BUILTIN_MERGING: [100.0]}
    assert make_goals(make_result(rates)) == []
    with_triton = make_goals(make_result({**rates, TRITON: [50.0], TRITON_MERGING: [200.0]}))
    assert [goal["measured"] for goal in with_triton] == [2.0, 0.5]


def test_text_names_each_server_and_where_the_load_may_have_been_the_limit() -> None:
    result = make_result({BARE: [500.0], BUILTIN: [100.0]})
    busy = {(BUILTIN, 16): [Sample(100.0, 1.0, 2.0, 0.5, busy=0.95)]}
    text = "\n".join(describe(Result("some", 1.0, result.echo, {**result.samples, **busy})))
    assert "built-in" in text
    assert "limit of: built-in (16)" in text
    assert "limit" not in "\n".join(describe(result))


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [([3.0], 99, 3.0), ([1.0, 2.0, 3.0], 50, 2.0), ([float(number) for number in range(101)], 99, 99.0)],
)
def test_percentiles(values: list[float], percent: int, wanted: float) -> None:
    assert percentile(values, percent) == pytest.approx(wanted)
