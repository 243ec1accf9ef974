"""The built-in model server beside a bare onnxruntime loop, Triton, MLServer and the least that grpc.aio takes.

    python benchmarks/model_server.py [--quick] [--json]      # ten minutes; --quick, of two models: under one

All serve the same model with the same threads, one inference at a time, on the same core where there are two or more,
which the load generator leaves alone: so the agent places replicas, too. They are all there all the time, and take
turns, round by round; what is told are medians over the rounds, and medians of the ratios within each round. "Merging"
is dynamic batching: the built-in server finds out how many rows help, Triton may merge 16. Every answer is compared
with what the bare loop computes.

The models: tiny (a multiplication of four numbers), middle (Magika, a real one), wide (dense layers: many rows at once
cost little more than one), image (600 KB in). The load generator (model_server_load.py) is in Python; that it is not
what limits the figures is shown beside them, by an Envoy that answers at once, and by the part of its time for which it
computes. CPU is told beside the clock, for neighbours disturb it less.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.model_server_bare import BareLoop, running_bare, running_echo
from benchmarks.model_server_http2 import LoadError, Request
from benchmarks.model_server_load import run_load
from benchmarks.model_server_mlserver import make_environment
from benchmarks.model_server_models import MAKERS, Model
from benchmarks.model_server_report import BARE, Result, Sample, describe, make_goals
from benchmarks.model_server_targets import MERGED_ROWS, Server, Start, all_running, list_starts
from tests.harness.triton import CACHE as TRITON_CACHE

INFER = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True)
class Schedule:
    """`seconds`: of one server at one number of callers in one round; more where a turn of all callers takes longer."""

    models: Sequence[str]
    callers: Sequence[int]
    rounds: int
    seconds: float


FULL = Schedule(tuple(MAKERS), (1, 4, 16, 64), 5, 0.7)
QUICK = Schedule(("tiny", "wide"), (1, 16), 3, 0.2)
CORES = sorted(os.sched_getaffinity(0))


def measure_model(model: Model, starts: Sequence[Start], schedule: Schedule, threads: int) -> Result:
    cores, rest = split_cores(threads)
    os.sched_setaffinity(0, [*cores, *rest])  # so that all of them start at once
    request = Request(INFER, model.request())
    with ExitStack() as stack:
        servers = stack.enter_context(all_running(starts, model, threads, cores))
        bare = stack.enter_context(running_bare(model, threads, cores))
        os.sched_setaffinity(0, rest)
        gain, one_s = measure_gain(bare)
        echo = measure_echo(model, cores, schedule)
        for server in servers:
            measure(server, model, request, 4, 0.2)  # warms up
        samples = defaultdict(list)
        for round_ in range(schedule.rounds):
            first = round_ % len(servers)
            for callers in schedule.callers:
                seconds = max(schedule.seconds, callers * one_s)
                samples[BARE, callers].append(measure_bare(bare, schedule.seconds))
                for server in servers[first:] + servers[:first]:
                    samples[server.name, callers].append(measure(server, model, request, callers, seconds))
        return Result(model.name, gain, echo, samples)


def measure(server: Server, model: Model, request: Request, callers: int, seconds: float) -> Sample:
    """Ends the program where an answer is not what it should be."""
    before = server.cpu_s()
    try:
        load = run_load(server.port, request, callers, seconds)
        for answer in load.answers:
            model.check(answer)
    except (LoadError, OSError) as error:
        raise SystemExit(f"{server.name}, {model.name} model, {callers} at once: {error}") from error
    cpu_ms = (server.cpu_s() - before) / load.count * 1e3
    return Sample(load.rate, load.percentile_ms(50), load.percentile_ms(99), cpu_ms, load.busy)


def measure_bare(bare: BareLoop, seconds: float) -> Sample:
    run = bare.run(seconds)
    return Sample(run.rate, *run.latencies_ms, run.cpu_ms)


def measure_gain(bare: BareLoop) -> tuple[float, float]:
    """The throughput of many rows at once over that of single ones, and the seconds of a single one."""
    pairs = [(bare.run(0.1).rate, bare.run(0.1, MERGED_ROWS).rate) for _ in range(3)]
    return statistics.median(many / one for one, many in pairs), 1 / statistics.median(one for one, _ in pairs)


def measure_echo(model: Model, cores: Sequence[int], schedule: Schedule) -> dict[int, float]:
    # To a gRPC call Envoy itself gives errors only.
    request = Request(INFER, model.request(), "application/x-grpc")
    with running_echo(model, cores) as echo:
        measure(echo, model, request, 4, 0.1)
        return {
            callers: measure(echo, model, request, callers, schedule.seconds / 2).rate for callers in schedule.callers
        }


def split_cores(threads: int) -> tuple[list[int], list[int]]:
    """Cores for whom is measured, and for the load; all for both where there are too few."""
    return (CORES[:threads], CORES[threads:]) if len(CORES) > threads else (CORES, CORES)


def find_starts() -> dict[str, Start]:
    """Of all that can be had here; says what cannot."""
    mlserver = None
    try:
        mlserver = make_environment()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"without MLServer: {error}")
    has_triton = (TRITON_CACHE / "complete").exists()
    if not has_triton:
        print("without Triton: scripts/fetch_triton gets one")
    return list_starts(mlserver, with_triton=has_triton)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The built-in model server beside others, and beside none.")
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer models, callers and rounds")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object with the goals")
    parser.add_argument("--threads", type=int, default=1, help="of an inference (default 1)")
    parser.add_argument("--models", nargs="+", choices=MAKERS, help="these only")
    parser.add_argument("--servers", nargs="+", help="these only, by the names in the tables")
    parser.add_argument("--callers", nargs="+", type=int, help="so many at once")
    parser.add_argument("--rounds", type=int)
    return parser.parse_args()


def choose_schedule(arguments: argparse.Namespace) -> Schedule:
    usual = QUICK if arguments.quick else FULL
    return Schedule(
        arguments.models or usual.models,
        arguments.callers or usual.callers,
        arguments.rounds or usual.rounds,
        usual.seconds,
    )


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so ends what it has started
    arguments = parse_arguments()
    schedule = choose_schedule(arguments)
    starts = find_starts()
    if arguments.servers:
        if unknown := [name for name in arguments.servers if name not in starts]:
            raise SystemExit(f"no server {unknown[0]!r} here; there are {', '.join(map(repr, starts))}")
        starts = {name: starts[name] for name in arguments.servers}
    print(f"{schedule.rounds} rounds of {schedule.seconds:g} s, {arguments.threads} thread(s) an inference")
    if arguments.quick:
        models = " and ".join(schedule.models)
        print(f"--quick: of the models only {models}, and few rounds, which tell little on a noisy machine")
    goals = []
    with tempfile.TemporaryDirectory() as folder:
        for name in schedule.models:
            model = MAKERS[name](Path(folder))
            result = measure_model(model, list(starts.values()), schedule, arguments.threads)
            print("\n".join(describe(result)), flush=True)
            goals += make_goals(result)
    if arguments.json:
        print(json.dumps({"goals": goals}))


if __name__ == "__main__":
    main()
