"""What huge pages are worth to a model: the bare onnxruntime loop with them and without, in turns, on one core.

    python benchmarks/huge_pages.py [--quick] [--json]      # half a minute; --quick: ten seconds

Each kind of page has two processes, for memory may lie well or badly for the life of a process. Told are medians of
each kind over all rounds and processes.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.model_server_bare import BareLoop, running_bare
from benchmarks.model_server_models import MAKERS, Model
from nodeagent.devices.cpu import server_environment

_USUAL, _HUGE = "pages as usual", "huge pages"
_PROCESSES = 2  # of each kind


@contextmanager
def _environment(changed: Mapping[str, str]) -> Iterator[None]:
    before = {**os.environ}
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(model: Model, rounds: int, seconds: float) -> dict[str, float]:
    """CPU milliseconds of an inference, by kind of page."""
    cores = sorted(os.sched_getaffinity(0))[:1]
    kinds = {_USUAL: {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, _HUGE: server_environment(1)}
    taken = defaultdict(list)
    with ExitStack() as stack:
        loops: list[tuple[str, BareLoop]] = []
        for kind, environment in list(kinds.items()) * _PROCESSES:
            with _environment(environment):  # glibc reads it as a process begins
                loops.append((kind, stack.enter_context(running_bare(model, 1, cores))))
        for _ in range(rounds):
            for kind, loop in loops:
                taken[kind].append(loop.run(seconds).cpu_ms)
    return {kind: statistics.median(times) for kind, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="The bare onnxruntime loop with huge pages, and without.")
    parser.add_argument("--quick", action="store_true", help="the model with large weights only, fewer rounds")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object with the goals")
    arguments = parser.parse_args()
    names, rounds, seconds = (["wide"], 3, 0.3) if arguments.quick else (["wide", "middle", "image"], 6, 0.5)
    goals = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            taken = measure(MAKERS[name](Path(folder)), rounds, seconds)
        ratio = taken[_USUAL] / taken[_HUGE]
        print(f"{name}: {taken[_USUAL]:.2f} ms with pages as usual, {taken[_HUGE]:.2f} ms with huge ones: {ratio:.2f}")
        # Only where the weights are larger than the caches is there anything to win.
        goal = 1.05 if name == "wide" else 0.98
        goals.append({"name": f"{name} model: speed with huge pages over that without", "measured": round(ratio, 3),
                      "goal": goal, "better": "higher"})  # fmt: skip
    if arguments.json:
        print(json.dumps({"goals": goals}))


if __name__ == "__main__":
    main()
