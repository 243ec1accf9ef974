"""The registry at 100,000 versions beside one of 1,000: whether what people do stays as fast as it was.

    python benchmarks/registry.py [--quick] [--json] [--postgresql]

It takes some minutes; with --quick, which puts 10,000 beside 100, under one. Both registries are asked the same in
turn, round by round; what is told are medians and 99th percentiles over all, and the median of the ratios within each
round. First the store alone, then a controller over gRPC, on SQLite, and with --postgresql on a private PostgreSQL,
too. Registering over gRPC is all of it: upload, inspection, storing, record.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.registry_content import VERSIONS_EACH, fill
from benchmarks.registry_targets import GrpcTarget, StoreTarget, Target
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from tests.harness.postgres import Postgres, running_postgres
from tests.harness.programs import Program

GOAL = 2.0
# What may cost at most GOAL times as much in the large registry.
WITH_GOAL = ("get", "list models", "list versions", "list one model")
Seconds = dict[tuple[str, str], list[float]]  # by operation and size
MakeUrl = Callable[[Path], AbstractContextManager[str]]


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def on_sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder / 'yard.db'}"


def on_postgresql(postgres: Postgres) -> MakeUrl:
    return lambda _folder: postgres.make_database()


@contextmanager
def filled(url: str, models: int) -> Iterator[SqlRegistryStore]:
    """A new registry of so many models, in the empty database at `url`."""
    database = open_database(url)
    try:
        with database.writing() as connection:
            fill(connection, models)
        if database.engine.dialect.name == "postgresql":
            # What PostgreSQL does by itself some minutes after so much was written.
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE")
        yield SqlRegistryStore(database)
    finally:
        database.close()


@contextmanager
def running_controller(folder: Path, url: str) -> Iterator[str]:
    """Its address."""
    arguments = ["--listen", "127.0.0.1:0", "--data", str(folder), "--database-url", url]
    controller = Program("controlplane", arguments, folder / "log")
    controller.start()
    try:
        yield controller.facts["address"]
    finally:
        controller.stop()


def measure(targets: Sequence[Target], rounds: int, samples: Mapping[str, int]) -> tuple[Seconds, dict[str, float]]:
    """Of two targets, the smaller first: seconds of each call, and the median ratio of large to small by operation."""
    seconds: Seconds = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    chance = random.Random(0)
    for number in range(rounds + 1):
        for operation in targets[0].operations:
            medians = {}
            for size, target in chance.sample(list(zip(("small", "large"), targets, strict=True)), 2):
                calls = [call_timed(target.operations[operation]) for _ in range(samples.get(operation, samples[""]))]
                medians[size] = statistics.median(calls)
                if number:  # the first round warms up
                    seconds[operation, size] += calls
            if number:
                ratios[operation].append(medians["large"] / medians["small"])
    return seconds, {operation: statistics.median(of_rounds) for operation, of_rounds in ratios.items()}


def call_timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def describe(seconds: Sequence[float]) -> str:
    p99 = sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    return f"{statistics.median(seconds) * 1e3:9.2f}{p99 * 1e3:9.2f}"


def report(title: str, sizes: Sequence[int], seconds: Seconds, ratios: Mapping[str, float]) -> list[dict[str, Any]]:
    """Prints a table and returns the goals."""
    small, large = (f"{models * VERSIONS_EACH:,} versions" for models in sizes)
    columns = f"{'median      p99':>18}"
    print(f"\n{title}\n{'milliseconds':18}{small:>18}{large:>18}\n{'':18}{columns}{columns}{'ratio':>8}")
    for operation, ratio in ratios.items():
        figures = describe(seconds[operation, "small"]) + describe(seconds[operation, "large"])
        print(f"{operation:18}{figures}{ratio:8.2f}", flush=True)
    return [
        {
            "name": f"{title}: {operation}, {large} over {small}",
            "measured": round(ratios[operation], 3),
            "goal": GOAL,
            "better": "lower",
        }
        for operation in WITH_GOAL
    ]


def compare(name: str, make_url: MakeUrl, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """On one kind of database."""
    goals = []
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelyard-registry-"))) for _ in "ab"]
        urls = [stack.enter_context(make_url(folder)) for folder in folders]
        with ExitStack() as opened:
            stores = []
            for url, models in zip(urls, arguments.sizes, strict=True):
                tell(f"{name}: writing {models * VERSIONS_EACH:,} versions")
                stores.append(StoreTarget(opened.enter_context(filled(url, models)), models, arguments.page_size))
            tell(f"{name}: the store alone")
            seconds, ratios = measure(stores, arguments.rounds, arguments.samples)
        goals += report(f"the store on {name}", arguments.sizes, seconds, ratios)
        addresses = [stack.enter_context(running_controller(*of_one)) for of_one in zip(folders, urls, strict=True)]
        callers = [
            stack.enter_context(GrpcTarget(address, models, arguments.page_size))
            for address, models in zip(addresses, arguments.sizes, strict=True)
        ]
        tell(f"{name}: a controller over gRPC")
        seconds, ratios = measure(callers, arguments.rounds, arguments.samples)
        goals += report(f"a controller on {name}", arguments.sizes, seconds, ratios)
    return goals


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The registry at 100,000 versions beside one of 1,000.")
    parser.add_argument("--quick", action="store_true", help="under a minute: 10,000 versions beside 100")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object with the goals")
    parser.add_argument("--postgresql", action="store_true", help="on a private PostgreSQL, too")
    arguments = parser.parse_args()
    arguments.sizes = (10, 1_000) if arguments.quick else (100, 10_000)
    # As many as either has, so that both send the same.
    arguments.page_size = arguments.sizes[0]
    arguments.rounds = 4 if arguments.quick else 15
    # Calls in a round; a registration over gRPC starts a process that looks at the file.
    arguments.samples = {"": 12, "register": 2} if arguments.quick else {"": 20, "register": 7}
    return arguments


def main() -> None:
    arguments = parse_arguments()
    goals = compare("SQLite", on_sqlite, arguments)
    with running_postgres() if arguments.postgresql else nullcontext() as postgres:
        if postgres is not None:
            goals += compare("PostgreSQL", on_postgresql(postgres), arguments)
    if arguments.json:
        print(json.dumps({"goals": goals}))


if __name__ == "__main__":
    main()
