"""From `deploy` to the first answer through the router, part by part, with a spare model server and without.

    python benchmarks/start.py [--quick] [--json]

Two yards stand side by side, each with a controller, an agent and a router: the agent of one keeps a spare server.
Every round deploys a model that no agent has seen to one yard and then to the other, and asks its router for an answer
until there is one. What is told are medians over the rounds, and medians of the ratios within each round. The parts,
in milliseconds:

    place   from the call of `deploy` until the replica was decided on
    fetch, start, load, warm-up, probe   as the agent tells them (resources.proto, StartTimes)
    route   all the rest: the agent hears of its replica, the controller of its being ready, the router of the route
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
from onnx import helper, numpy_helper
from tritonclient.utils import InferenceServerException

from modelyard.v1 import resources_pb2
from tests.harness.models import write_scale_model
from tests.harness.onnx_models import tensor, write_model
from tests.harness.programs import wait_for
from tests.harness.yard import Yard

COLD, SPARE = "cold", "spare"
PARTS = ("place", "fetch", "start", "load", "warm-up", "probe", "route")
GOAL_S = 1.0
GOAL_RATIO = 1.5
_POLL_S = 0.003


@dataclass(frozen=True)
class Model:
    """`write` makes one whose content is its own, of that number."""

    name: str
    width: int
    write: Callable[[Path, int], Path]


def write_tiny(path: Path, number: int) -> Path:
    return write_scale_model(path, float(number))


def write_large(path: Path, number: int) -> Path:
    """y = x @ weights, 32 MB."""
    weights = np.full((2048, 4096), number, np.float32)
    node = helper.make_node("MatMul", ["x", "weights"], ["y"])
    inputs, outputs = [tensor("x", "FP32", ["batch", 2048])], [tensor("y", "FP32", ["batch", 4096])]
    return write_model(path, [node], inputs, outputs, [numpy_helper.from_array(weights, "weights")])


MODELS = (Model("tiny", 4, write_tiny), Model("32 MB", 2048, write_large))


@dataclass(frozen=True)
class Start:
    """Seconds of each part; together they are the time from `deploy` to the first answer."""

    parts: dict[str, float]

    @property
    def total_s(self) -> float:
        return sum(self.parts.values())

    @property
    def ready_s(self) -> float:
        """Without the way of the request, most of which comes after the replica is ready."""
        return self.total_s - self.parts["route"]


class Target:
    """One yard. `spares`: whether its agent keeps a server in waiting."""

    def __init__(self, folder: Path, spares: bool) -> None:
        folder.mkdir()
        self._folder = folder
        self._spares = spares
        self._taken = 0
        options = ("--spare-servers", str(int(spares)), "--log-level", "debug")
        self.yard = Yard(folder, agent_options=options)
        self._client = tritonclient.grpc.InferenceServerClient(self.yard.address)

    def measure(self, model: Model, number: int) -> Start:
        """Deploys it, and takes it away again."""
        name = f"m{number}"
        self.yard.register(name, model.write(self._folder / "model.onnx", number))
        self.yard.set_alias(name, "production", 1)
        self._wait_idle()
        began, began_clock = time.monotonic(), time.time()
        self.yard.deploy(name)
        self._ask_until_answered(name, model.width)
        total_s = time.monotonic() - began
        # The agent's times come with its next report.
        replica = wait_for(lambda: self._started(name), "the times of its start")
        self.yard.undeploy(name)
        wait_for(lambda: not self.yard.replicas(name), "its end")
        self._taken += 1
        times = replica.start_times
        place_s = replica.create_time.ToMicroseconds() / 1e6 - began_clock
        parts = [place_s, times.fetch_s, times.start_s, times.load_s, times.warm_up_s, times.probe_s]
        return Start(dict(zip(PARTS, [*parts, total_s - sum(parts)], strict=True)))

    def close(self) -> None:
        self._client.close()
        self.yard.close()

    def _wait_idle(self) -> None:
        """Until there is a spare again, where there is to be one, and both yards have come to rest."""
        log = self._folder / "agent.log"
        if self._spares:
            wait_for(lambda: log.read_text().count(" waits as a spare server") > self._taken, "a spare server")
        time.sleep(0.5)

    def _ask_until_answered(self, model: str, width: int) -> None:
        x = tritonclient.grpc.InferInput("x", [1, width], "FP32")
        x.set_data_from_numpy(np.ones((1, width), np.float32))
        while True:
            try:
                self._client.infer(model, [x], client_timeout=60)
                return
            except InferenceServerException:
                time.sleep(_POLL_S)

    def _started(self, model: str) -> resources_pb2.Replica | None:
        replicas = [r for r in self.yard.replicas(model) if r.HasField("start_times")]
        return replicas[0] if replicas else None


@contextmanager
def two_yards() -> Iterator[dict[str, Target]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelyard-start-")))
        targets = {}
        for name in (COLD, SPARE):
            targets[name] = Target(folder / name, spares=name == SPARE)
            stack.callback(targets[name].close)
        yield targets


def measure(targets: dict[str, Target], model: Model, numbers: range) -> dict[str, list[Start]]:
    """The first round is left out: it finds nothing in the caches of the host."""
    starts: dict[str, list[Start]] = {name: [] for name in targets}
    for number in numbers:
        for name, target in targets.items():
            starts[name].append(target.measure(model, number))
        print(f"{model.name}: round {number - numbers.start + 1} of {len(numbers)}", file=sys.stderr)
    return {name: found[1:] for name, found in starts.items()}


def report(model: Model, starts: dict[str, list[Start]]) -> list[dict[str, Any]]:
    """Prints a table and returns the goals."""
    print(f"\n{model.name} model, ms" + "".join(f"{part:>9}" for part in PARTS) + "    total   90th percentile")
    for name, found in starts.items():
        parts = "".join(f"{1e3 * statistics.median(start.parts[part] for start in found):9.1f}" for part in PARTS)
        totals = sorted(start.total_s for start in found)
        high = totals[int(0.9 * (len(totals) - 1))]
        print(f"{name:>{len(model.name) + 10}}{parts}{1e3 * statistics.median(totals):9.1f}{1e3 * high:9.1f}")
    ratios = [cold.ready_s / spare.ready_s for cold, spare in zip(starts[COLD], starts[SPARE], strict=True)]
    ready_s = statistics.median(start.ready_s for start in starts[SPARE])
    answer_s = statistics.median(start.total_s for start in starts[SPARE])
    print(f"ready without a spare over ready with one: {statistics.median(ratios):.2f}")
    return [
        goal(f"{model.name}: ready with a spare, s", ready_s, GOAL_S, "lower"),
        goal(f"{model.name}: first answer with a spare, s", answer_s, GOAL_S, "lower"),
        goal(
            f"{model.name}: ready without a spare over ready with one", statistics.median(ratios), GOAL_RATIO, "higher"
        ),
    ]


def goal(name: str, measured: float, wanted: float, better: str) -> dict[str, Any]:
    return {"name": name, "measured": round(measured, 3), "goal": wanted, "better": better}


def main() -> None:
    parser = argparse.ArgumentParser(description="From deploy to the first answer, with a spare server and without.")
    parser.add_argument("--quick", action="store_true", help="under a minute: the tiny model alone, few rounds")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object with the goals")
    arguments = parser.parse_args()
    rounds = 6 if arguments.quick else 21
    goals = []
    with two_yards() as targets:
        for index, model in enumerate(MODELS[:1] if arguments.quick else MODELS):
            first = 1 + index * rounds
            goals += report(model, measure(targets, model, range(first, first + rounds)))
    if arguments.json:
        print(json.dumps({"goals": goals}))


if __name__ == "__main__":
    main()
