"""The yard's router against no proxy, a plain Envoy and a proxy on grpc.aio: what routing by model costs.

    python benchmarks/router.py [--quick] [--json]

The replica is nghttpd, which gives the same gRPC reply to every request; the load comes from h2load; both are C, and
both take their share of the same cores. Rounds are interleaved; what is told are medians over the rounds, and medians
of the ratios within each round. Wall clocks vary with the neighbours, so look at the CPU of a request first. h2load
cannot see gRPC errors: the bytes of all replies are counted.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tritonclient.grpc import service_pb2

from modelyard.v1 import routing_pb2

METHOD = "/inference.GRPCInferenceService/ModelInfer"
MODEL = "resnet"
PLAIN, YARD, YARD_KEY = "plain Envoy", "yard", "yard, x-model"
CONCURRENCY = {1: (1, 1), 16: (4, 4), 64: (8, 8)}  # connections, streams on each
WORKERS = 2


@dataclass(frozen=True)
class Target:
    """`pid` is that of the process whose CPU is counted."""

    name: str
    port: int
    pid: int
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """`cpu_us` is the CPU time of a request in the target's process."""

    rate: float
    p50_ms: float
    cpu_us: float


@dataclass(frozen=True)
class Load:
    """`log` is where h2load leaves the time of each request."""

    bodies: dict[str, Path]
    reply_bytes: int
    log: Path


Cell = tuple[str, int]  # size, concurrency
Samples = dict[Cell, dict[str, list[Sample]]]


def make_requests(folder: Path) -> dict[str, Path]:
    """gRPC bodies in files, as h2load sends them."""
    paths = {}
    for size, count in (("small", 16), ("600 KB", 150_528)):
        message = service_pb2.ModelInferRequest(model_name=MODEL, raw_input_contents=[bytes(4 * count)])
        message.inputs.add(name="x", datatype="FP32", shape=[1, count])
        paths[size] = folder / f"{count}.bin"
        paths[size].write_bytes(make_frame(message.SerializeToString()))
    return paths


def make_reply() -> bytes:
    message = service_pb2.ModelInferResponse(model_name=MODEL, model_version="1", raw_output_contents=[bytes(40)])
    message.outputs.add(name="y", datatype="FP32", shape=[1, 10])
    return make_frame(message.SerializeToString())


def make_frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_open(port: int, process: subprocess.Popen[Any]) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise SystemExit(f"{process.args!r} ended with {process.returncode}")


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def replica(folder: Path, reply: bytes) -> Iterator[Target]:
    port = find_free_port()
    path = folder / METHOD.removeprefix("/")
    path.parent.mkdir(parents=True)
    path.write_bytes(reply)
    options = ["--no-tls", "--trailer", "grpc-status: 0", "-m", "1000", "-w", "20", "-W", "23", "-a", "127.0.0.1"]
    with running(["nghttpd", *options, "-d", str(folder), str(port)]) as process:
        wait_open(port, process)
        yield Target("direct", port, process.pid)


@contextmanager
def yard_router(folder: Path, upstream: int) -> Iterator[list[Target]]:
    """The router with a stored route table, so that no controller is needed."""
    table = routing_pb2.RouteTable(version=1)
    table.pools.add(name=f"{MODEL}/production@1").endpoints.add(address="127.0.0.1", port=upstream, weight=1)
    for key in (MODEL, f"{MODEL}@1", f"{MODEL}@production"):
        table.routes.add(key=key, model=MODEL, version=1, pool=f"{MODEL}/production@1")
    data = folder / "router"
    data.mkdir()
    (data / "route_table.binpb").write_bytes(table.SerializeToString())
    reader, writer = os.pipe()
    command = [
        sys.executable,
        "-m",
        "router",
        "--data",
        str(data),
        "--listen",
        "127.0.0.1:0",
        "--ready-fd",
        str(writer),
    ]
    settings = ["--concurrency", str(WORKERS), "--controller", "127.0.0.1:1", "--drain-timeout-s", "0"]
    with running([*command, *settings, "--log-level", "error"], pass_fds=[writer]) as router:
        os.close(writer)
        with os.fdopen(reader) as pipe:
            line = pipe.readline() or sys.exit("the router did not start")
        port = int(json.loads(line)["address"].rpartition(":")[2])
        (envoy,) = psutil.Process(router.pid).children()
        pid = envoy.pid
        yield [Target(YARD, port, pid), Target(YARD_KEY, port, pid, (f"x-model: {MODEL}",))]


def make_plain_config(port: int, upstream: int) -> dict[str, Any]:
    """One route and no filter, with the HTTP/2 windows of the yard's router."""
    extensions = "type.googleapis.com/envoy.extensions"
    manager = {
        "@type": f"{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        "codec_type": "HTTP2",
        "http2_protocol_options": make_windows(16 << 20),
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "replica", "timeout": "600s"}}],
                }
            ]
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{extensions}.filters.http.router.v3.Router"}}],
    }
    options = f"{extensions}.upstreams.http.v3.HttpProtocolOptions"
    cluster = {
        "name": "replica",
        "type": "STATIC",
        "per_connection_buffer_limit_bytes": 1 << 20,
        "typed_extension_protocol_options": {
            options.partition("/")[2]: {
                "@type": options,
                "explicit_http_config": {"http2_protocol_options": make_windows(8 << 20)},
            }
        },
        "load_assignment": {
            "cluster_name": "replica",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": make_address(upstream)}}]}],
        },
    }
    listener = {
        "address": make_address(port),
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def make_windows(connection_bytes: int) -> dict[str, int]:
    return {
        "max_concurrent_streams": 1024,
        "initial_stream_window_size": 1 << 20,
        "initial_connection_window_size": connection_bytes,
    }


def make_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextmanager
def plain_envoy(folder: Path, upstream: int, binary: str) -> Iterator[Target]:
    port = find_free_port()
    config = folder / "plain.json"
    config.write_text(json.dumps(make_plain_config(port, upstream)))
    command = [binary, "-c", str(config), "--disable-hot-restart", "--concurrency", str(WORKERS)]
    with running([*command, "--log-level", "error"]) as process:
        wait_open(port, process)
        yield Target(PLAIN, port, process.pid)


@contextmanager
def passthrough_proxy(upstream: int) -> Iterator[Target]:
    command = [sys.executable, str(Path(__file__).with_name("passthrough_proxy.py")), f"127.0.0.1:{upstream}"]
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Target("grpc.aio proxy", int(process.stdout.readline()), process.pid)


def read_cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process, to the nanosecond that the scheduler counts."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def measure(target: Target, cell: Cell, count: int, load: Load) -> Sample:
    """Sends `count` requests. Ends the program where a reply is not what it should be."""
    connections, streams = CONCURRENCY[cell[1]]
    load.log.unlink(missing_ok=True)
    command = ["h2load", "-n", str(count), "-c", str(connections), "-m", str(streams), "-d", str(load.bodies[cell[0]])]
    for header in ("content-type: application/grpc", "te: trailers", *target.headers):
        command += ["-H", header]
    before = read_cpu_s(target.pid)
    url = f"http://127.0.0.1:{target.port}{METHOD}"
    output = subprocess.run(
        [*command, f"--log-file={load.log}", url], capture_output=True, text=True, check=True
    ).stdout
    cpu_s = read_cpu_s(target.pid) - before
    check_replies(target, output, count, load.reply_bytes)
    times_us = [int(line.split("\t")[2]) for line in load.log.read_text().splitlines()]
    rate = float(re.search(r", ([\d.]+) req/s", output)[1])  # type: ignore[index]
    return Sample(rate, statistics.median(times_us) / 1e3, cpu_s / count * 1e6)


def check_replies(target: Target, output: str, count: int, reply_bytes: int) -> None:
    succeeded = re.search(r"status codes: (\d+) 2xx", output)
    received = re.search(r"\((\d+)\) data", output)
    if not succeeded or not received or (int(succeeded[1]), int(received[1])) != (count, count * reply_bytes):
        sys.exit(f"{target.name}: some replies are not right\n{output}")


def run_rounds(targets: list[Target], load: Load, *, rounds: int, seconds: float) -> Samples:
    samples: Samples = defaultdict(lambda: defaultdict(list))
    for cell in ((size, concurrency) for size in load.bodies for concurrency in CONCURRENCY):
        least = 20 * cell[1]
        # The first requests warm up, too.
        rates = {target.name: measure(target, cell, least, load).rate for target in targets}
        for round_ in range(rounds):
            first = round_ % len(targets)
            for target in targets[first:] + targets[:first]:
                count = max(least, int(rates[target.name] * seconds))
                samples[cell][target.name].append(measure(target, cell, count, load))
    return samples


def median_ratio(samples: dict[str, list[Sample]], name: str, field: str = "rate") -> float:
    """Of the rounds' ratios to plain Envoy."""
    pairs = zip(samples[name], samples[PLAIN], strict=True)
    return float(statistics.median(getattr(mine, field) / getattr(plain, field) for mine, plain in pairs))


def tell(samples: Samples) -> None:
    head = ("req/s", "p50 ms", "CPU us", "req/s / plain", "CPU / plain")
    for (size, concurrency), by_target in samples.items():
        print(f"\n{size}, {concurrency} at once{'':<8}" + "".join(f"{title:>15}" for title in head))
        for name, found in by_target.items():
            medians = [statistics.median(getattr(s, field) for s in found) for field in ("rate", "p50_ms", "cpu_us")]
            row = f"{medians[0]:15,.0f}{medians[1]:15.3f}{medians[2]:15.1f}{median_ratio(by_target, name):15.2f}"
            print(f"  {name:<22}{row}{median_ratio(by_target, name, 'cpu_us'):15.2f}")


def make_goals(samples: Samples) -> list[dict[str, Any]]:
    """Throughput where callers leave no gaps; the time that it adds where there is one caller."""
    wanted = [("small", YARD, 0.75), ("small", YARD_KEY, 0.85), ("600 KB", YARD, 0.9), ("600 KB", YARD_KEY, 0.9)]
    goals = [
        {
            "name": f"throughput of {name} over plain Envoy, {size}, {concurrency} at once",
            "measured": round(median_ratio(samples[size, concurrency], name), 3),
            "goal": goal,
            "better": "higher",
        }
        for size, name, goal in wanted
        for concurrency in (16, 64)
    ]
    for name in (YARD, YARD_KEY):
        pairs = zip(samples["small", 1][name], samples["small", 1][PLAIN], strict=True)
        added = statistics.median(mine.p50_ms - plain.p50_ms for mine, plain in pairs)
        title = f"ms that {name} adds to plain Envoy's median, small, 1 at once"
        goals.append({"name": title, "measured": round(added, 3), "goal": 0.1, "better": "lower"})
    return goals


def check_tools() -> None:
    for tool, package in (("h2load", "nghttp2-client"), ("nghttpd", "nghttp2-server")):
        if not shutil.which(tool):
            sys.exit(f"this benchmark needs {tool}: apt-get install {package}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The yard's router against plain Envoy and others.")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object with the goals")
    arguments = parser.parse_args()
    # Many short rounds: the neighbours' load changes from second to second, and a median forgets what hit few of them.
    arguments.rounds, arguments.seconds = (3, 0.2) if arguments.quick else (25, 0.35)
    return arguments


def main() -> None:
    arguments = parse_arguments()
    check_tools()
    print(f"{arguments.rounds} rounds of {arguments.seconds:g} s, {WORKERS} worker threads of Envoy")
    reply = make_reply()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        direct = stack.enter_context(replica(folder / "htdocs", reply))
        yard = stack.enter_context(yard_router(folder, direct.port))
        targets = [
            direct,
            stack.enter_context(plain_envoy(folder, direct.port, psutil.Process(yard[0].pid).exe())),
            *yard,
            stack.enter_context(passthrough_proxy(direct.port)),
        ]
        load = Load(make_requests(folder), len(reply), folder / "h2load.log")
        samples = run_rounds(targets, load, rounds=arguments.rounds, seconds=arguments.seconds)
    tell(samples)
    if arguments.json:
        print(json.dumps({"goals": make_goals(samples)}))


if __name__ == "__main__":
    main()
