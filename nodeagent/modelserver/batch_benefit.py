"""How many rows are worth merging: measured, then decided by the figures alone."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from resource import getpagesize

from modelyard.errors import YardError
from nodeagent.modelserver.batch import Feeds, merge, split
from nodeagent.modelserver.independence import Compute

SIZES = (1, 2, 4, 8, 16, 32, 64)
LONGEST_RUN_S = 0.025  # for one row: a model that takes longer leaves no time to measure two
_BUDGET_S = 0.2  # of the start, for all sizes
_MOST_RUNS = 10  # of one size
_LEAST_GAIN = 1.1  # of the throughput of single rows: for less nobody shall wait for others
_ALMOST = 0.95  # of the best throughput: fewer rows at a time answer sooner
_LEAST_STEP = 1.03  # what is no more than this is the noise of a measurement
_MOST_GROWTH = 0.25  # of the process's memory, and in any case some megabytes: a replica must fit its allocation
_FREE_GROWTH_BYTES = 64 << 20


def choose_rows(seconds: Mapping[int, float]) -> int:
    """The most rows of one run. `seconds`: what a run takes, by its number of rows; one row is among them.

    The fewest that come close to the best throughput, where that is clearly above the throughput of single rows.
    """
    rates = {rows: rows / max(taken, 1e-9) for rows, taken in seconds.items()}
    best = max(rates.values())
    if best < _LEAST_GAIN * rates[1]:
        return 1
    return min(rows for rows, rate in rates.items() if rate >= _ALMOST * best)


def measure(
    compute: Compute,
    row: Feeds,
    most_rows: int,
    clock: Callable[[], float] = time.perf_counter,
    timer: Callable[[], float] | None = None,
) -> dict[int, float]:
    """The seconds of the fastest run by its number of rows, merging and splitting included.

    `timer` measures the runs, `clock` how long all of it takes; without a `timer` the clock does both.
    Ends early where more rows bring nothing more, take too long, or too much memory. Raises YardError where the model
    does not compute one row, ValueError where it gives not as many rows as it takes.
    """
    begun, before = clock(), _resident_bytes()
    seconds: dict[int, float] = {}
    for rows in (size for size in SIZES if size <= most_rows):
        left = _BUDGET_S - (clock() - begun)
        if seconds and (
            2 * rows * min(taken / count for count, taken in seconds.items()) > left
            or _brings_nothing(seconds)
            or 2 * (_resident_bytes() - before) > max(_FREE_GROWTH_BYTES, _MOST_GROWTH * before)
        ):
            break
        try:
            seconds[rows] = _fastest(compute, row, rows, left / len(SIZES), clock=clock, timer=timer or clock)
        except YardError:
            if rows == 1:
                raise
            break  # the decision goes by what could be computed; whether rows are independent is tried by itself
    return seconds


def _fastest(
    compute: Compute,
    row: Feeds,
    rows: int,
    budget_s: float,
    *,
    clock: Callable[[], float],
    timer: Callable[[], float],
) -> float:
    """The first run is not counted: it lays out the memory for this number of rows."""
    begun, taken = clock(), [0.0]
    while len(taken) < 3 or (clock() - begun < budget_s and len(taken) < _MOST_RUNS):
        start = timer()
        split(compute(merge([row] * rows)), [1] * rows)
        taken.append(timer() - start)
    return min(taken[2:])


def _brings_nothing(seconds: Mapping[int, float]) -> bool:
    """Whether the last two sizes were no better than the best before them: one alone may fall between two kernels."""
    rates = [rows / taken for rows, taken in sorted(seconds.items())]
    return len(rates) > 2 and max(rates[-2:]) < _LEAST_STEP * max(rates[:-2])


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
