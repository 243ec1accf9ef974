"""What the figures say. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.model_server_targets import BUILTIN, BUILTIN_MERGING, MINIMAL, MLSERVER, TRITON, TRITON_MERGING

BARE = "bare loop"
BUSY = 4  # callers that keep a replica busy: with fewer it waits for them in between
LEAST_MS = 5.0  # of an inference that is to come close to the bare loop
LEAST_GAIN = 1.1  # from merging, of a model that gains
LEAST_GAIN_MS = 1.0  # of its inference: below, all that merging saves is less than what gRPC takes
NEAR_LIMIT = 0.8  # of the time: a load generator that computes for longer may be what was measured


@dataclass(frozen=True)
class Sample:
    """Of one round. `cpu_ms`: of a request, in all processes of the server; `busy`: of the load generator."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    busy: float = 0.0


Samples = Mapping[tuple[str, int], Sequence[Sample]]  # by server and callers, in the order of the rounds


@dataclass(frozen=True)
class Result:
    """Of one model. `gain`: the throughput of a bare loop over many rows at once, over that of single rows.

    `echo`: by callers, what the load generator reaches where there is nothing to compute.
    """

    model: str
    gain: float
    echo: Mapping[int, float]
    samples: Samples

    @property
    def callers(self) -> list[int]:
        return sorted({callers for _, callers in self.samples})

    @property
    def servers(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.samples))

    @property
    def bare_ms(self) -> float:
        rates = [sample.rate for callers in self.callers for sample in self.samples[BARE, callers]]
        return 1e3 / statistics.median(rates)


def median_of(result: Result, server: str, callers: int, field: str) -> float:
    return float(statistics.median(getattr(sample, field) for sample in result.samples[server, callers]))


def ratio(result: Result, server: str, rivals: Sequence[str], callers: int) -> float:
    """The median of the rounds' throughput over that of the fastest rival in the same round."""
    rounds = zip(result.samples[server, callers], *(result.samples[rival, callers] for rival in rivals), strict=True)
    return float(statistics.median(mine.rate / max(other.rate for other in others) for mine, *others in rounds))


def cpu_ratio(result: Result, server: str, callers: int) -> float:
    """The median of the rounds' CPU for an inference in the bare loop over that in the server.

    On a core of its own a busy server has that part of the loop's throughput, and no more.
    """
    rounds = zip(result.samples[server, callers], result.samples[BARE, callers], strict=True)
    return float(statistics.median(bare.cpu_ms / mine.cpu_ms for mine, bare in rounds))


@dataclass(frozen=True)
class Aim:
    """That `server` has at least `goal` of the throughput of the fastest of `rivals`."""

    server: str
    rivals: Sequence[str]
    of_whom: str
    callers: Sequence[int]
    goal: float = 1.0


def list_aims(result: Result) -> list[Aim]:
    """Those that this model is fit for, with what was measured."""
    busy = [callers for callers in result.callers if callers >= BUSY]
    python = [name for name in (MINIMAL, MLSERVER) if name in result.servers]
    aims = [
        Aim(BUILTIN, python, "the fastest Python server", result.callers),
        Aim(BUILTIN, [TRITON], "Triton's Python backend", result.callers),
        Aim(BUILTIN_MERGING, [TRITON_MERGING], "Triton's Python backend, both merging", result.callers),
    ]
    if result.bare_ms >= LEAST_MS:
        aims.append(Aim(BUILTIN, [BARE], "the bare loop", busy, 0.95))
    if result.gain >= LEAST_GAIN and result.bare_ms >= LEAST_GAIN_MS:
        aims.append(Aim(BUILTIN_MERGING, [BARE], "the bare loop of single rows, merging", busy))
    known = set(result.servers)
    return [aim for aim in aims if aim.rivals and aim.callers and {aim.server, *aim.rivals} <= known]


def make_goals(result: Result) -> list[dict[str, Any]]:
    """Each at the number of callers where it is furthest from being reached."""
    return [_goal(result, aim) for aim in list_aims(result)]


def _goal(result: Result, aim: Aim) -> dict[str, Any]:
    ratios = {callers: ratio(result, aim.server, aim.rivals, callers) for callers in aim.callers}
    if aim.rivals == [BARE]:
        # Neighbours on the core take more from a loop that never waits, which flatters the server: the lower counts.
        ratios = {callers: min(found, cpu_ratio(result, aim.server, callers)) for callers, found in ratios.items()}
    worst = min(ratios, key=lambda callers: ratios[callers])
    name = f"{result.model} model: throughput of the built-in server over {aim.of_whom}, at its worst ({worst} callers)"
    return {"name": name, "measured": round(ratios[worst], 3), "goal": aim.goal, "better": "higher"}


def describe(result: Result) -> list[str]:
    """Lines of text."""
    lines = [
        "",
        f"{result.model} model: {result.bare_ms:.3f} ms an inference in the bare loop;"
        f" many rows at once give {result.gain:.2f} of its throughput",
        f"{'':28}{'req/s':>10}{'of bare':>9}{'p50 ms':>10}{'p99 ms':>10}{'CPU ms':>9}{'of bare':>9}{'load busy':>11}",
    ]
    for callers in result.callers:
        lines.append(f"{callers} at once; without a model the load reaches {result.echo[callers]:,.0f}/s")
        lines += [_row(result, server, callers) for server in result.servers]
    if slow := _near_limit(result):
        lines.append(f"The load generator may have been the limit of: {', '.join(slow)}")
    return lines


def _row(result: Result, server: str, callers: int) -> str:
    rate, p50, p99, cpu, busy = (
        median_of(result, server, callers, field) for field in ("rate", "p50_ms", "p99_ms", "cpu_ms", "busy")
    )
    of_bare, of_its_cpu = ratio(result, server, [BARE], callers), 1 / cpu_ratio(result, server, callers)
    return f"  {server:26}{rate:10,.1f}{of_bare:9.2f}{p50:10.3f}{p99:10.3f}{cpu:9.3f}{of_its_cpu:9.2f}{busy:11.0%}"


def _near_limit(result: Result) -> list[str]:
    return [
        f"{server} ({callers})"
        for server, callers in result.samples
        if median_of(result, server, callers, "busy") > NEAR_LIMIT
    ]
