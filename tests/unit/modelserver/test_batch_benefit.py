"""How many rows are worth merging is decided by figures, and the figures are not measured for ever."""

from collections.abc import Callable

import numpy as np
import pytest

from modelyard.errors import ResourceExhaustedError
from modelyard.tensors import Array
from nodeagent.modelserver.batch import Feeds
from nodeagent.modelserver.batch_benefit import choose_rows, measure

ROW: Feeds = {"x": np.zeros((1, 2), np.float32)}


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),  # no gain
        ({1: 1.0, 2: 1.9, 4: 3.7}, 1),  # 8 %: not worth that anybody waits
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0, 16: 1.0, 32: 1.0}, 32),  # each row more is free
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.95, 16: 3.9}, 4),  # 8 and 16 are better by 3 % only
        ({1: 1.0, 2: 2.5, 4: 4.0, 8: 4.0, 16: 8.0}, 8),  # two rows are slower than one, eight are not
        ({1: 1.0, 2: 3.0, 4: 9.0}, 1),
        ({1: 0.0, 2: 0.0}, 2),  # below what the clock can tell
    ],
)
def test_the_fewest_rows_that_come_close_to_the_best(seconds: dict[int, float], rows: int) -> None:
    assert choose_rows(seconds) == rows


class Model:
    """A clock, and a model on it whose runs take what `cost` says of their rows."""

    def __init__(self, cost: Callable[[int], float]) -> None:
        self.now = 0.0
        self.runs: list[int] = []
        self._cost = cost

    def compute(self, feeds: Feeds) -> list[Array]:
        rows = len(feeds["x"])
        self.runs.append(rows)
        self.now += self._cost(rows)
        return [feeds["x"]]

    def clock(self) -> float:
        return self.now


def test_each_size_is_measured_and_its_first_run_is_not_counted() -> None:
    seen: set[int] = set()

    def cost(rows: int) -> float:
        first = rows not in seen
        seen.add(rows)
        return 1.0 if first and rows == 1 else 1e-5

    model = Model(cost)
    assert measure(model.compute, ROW, 64, model.clock) == {1: pytest.approx(1e-5)}  # the rest of its time was used up
    model = Model(lambda rows: 1e-4)
    assert measure(model.compute, ROW, 64, model.clock) == {
        size: pytest.approx(1e-4) for size in (1, 2, 4, 8, 16, 32, 64)
    }


def test_no_size_beyond_the_largest_batch_is_tried() -> None:
    model = Model(lambda rows: 1e-4)
    assert set(measure(model.compute, ROW, 9, model.clock)) == {1, 2, 4, 8}


@pytest.mark.parametrize("row_s", [1e-5, 1e-3, 1e-2, 5e-2, 0.1])
def test_it_takes_a_bounded_part_of_the_start(row_s: float) -> None:
    model = Model(lambda rows: row_s * rows**0.9)
    measure(model.compute, ROW, 1 << 16, model.clock)
    assert model.now < 0.2 + 3 * row_s


def test_it_ends_where_more_rows_bring_nothing_more() -> None:
    model = Model(lambda rows: 1e-4 * rows)
    assert set(measure(model.compute, ROW, 64, model.clock)) == {1, 2, 4}


def test_sizes_that_the_model_cannot_compute_end_it() -> None:
    def compute(feeds: Feeds) -> list[Array]:
        if len(feeds["x"]) > 4:
            raise ResourceExhaustedError("not enough memory")
        return model.compute(feeds)

    model = Model(lambda rows: 1e-4)
    assert set(measure(compute, ROW, 64, model.clock)) == {1, 2, 4}


def test_a_model_that_grows_too_much_is_not_tried_with_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(lambda rows: 1e-4)
    monkeypatch.setattr(
        "nodeagent.modelserver.batch_benefit._resident_bytes", lambda: (100 << 20) * max(model.runs, default=0)
    )
    assert set(measure(model.compute, ROW, 64, model.clock)) == {1}


def test_a_model_that_does_not_keep_the_rows_is_told() -> None:
    with pytest.raises(ValueError, match=r"an output of shape \[3\] came of 1 rows"):
        measure(lambda feeds: [np.zeros(3)], ROW, 64)


def test_runs_are_timed_by_a_timer_of_their_own_where_there_is_one() -> None:
    """On a busy core the clock goes on while nothing is computed for this process."""
    model = Model(lambda rows: 1e-5)
    computed = [0.0]

    def busy(feeds: Feeds) -> list[Array]:
        computed[0] += 1e-6
        return model.compute(feeds)

    assert measure(busy, ROW, 2, model.clock, lambda: computed[0]) == {1: pytest.approx(1e-6), 2: pytest.approx(1e-6)}
