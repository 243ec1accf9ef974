"""The built-in model server against a bare onnxruntime loop: what serving over gRPC costs.

    python benchmarks/model_server.py [--quick] [--json]      # four minutes; --quick: under one

Both have the same model, the same threads and, where there are two cores or more, the same core, which the load
generator leaves alone: so the agent places replicas, too. Rounds are interleaved; what is told are medians over the
rounds, and the median of the ratios within each round. The load comes from h2load where it is on the PATH, else from
threads of gRPC's synchronous client. Every answer is counted by the server itself, for h2load cannot see gRPC errors.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

INFER = "/inference.GRPCInferenceService/ModelInfer"
GOAL = 0.9
BUSY = 4  # callers that keep a replica busy
Load = Callable[[int, bytes, int, float], float]


@dataclass(frozen=True)
class Model:
    name: str
    file: Path
    shape: tuple[int, ...]

    def feed(self) -> Any:
        return np.random.default_rng(0).random(self.shape, np.float32)

    def request(self) -> bytes:
        message = pb.ModelInferRequest(model_name="m", raw_input_contents=[self.feed().tobytes()])
        message.inputs.add(name="x", datatype="FP32", shape=self.shape)
        return bytes(message.SerializeToString())


@dataclass
class Series:
    """Figures of one contender, a value for each round."""

    rates: list[float] = field(default_factory=list)  # inferences a second
    cpu_ms: list[float] = field(default_factory=list)  # of its process, for an inference


def write_onnx(file: Path, nodes: list[Any], shapes: tuple[Any, Any], weights: dict[str, Any]) -> None:
    (x_shape, y_shape), kind = shapes, TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", kind, x_shape)],
        [helper.make_tensor_value_info("y", kind, y_shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())


def tiny_model(file: Path, _layers: int) -> Model:
    """A multiplication of four numbers: nothing but the way there and back."""
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    write_onnx(file, nodes, (["b", 4], ["b", 4]), {"two": np.array([2], np.float32)})
    return Model("tiny", file, (1, 4))


def sequence_model(file: Path, layers: int) -> Model:
    """Matrix multiplications over 8 KB: 64 positions of 32 features."""
    random = np.random.default_rng(1)
    weights = {"w0": random.normal(0, 0.1, (32, 512)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["h0"])]
    for index in range(1, layers + 1):
        weights[f"w{index}"] = random.normal(0, 0.05, (512, 512)).astype(np.float32)
        nodes += [
            helper.make_node("MatMul", [f"h{index - 1}", f"w{index}"], [f"m{index}"]),
            helper.make_node("Relu", [f"m{index}"], [f"h{index}"]),
        ]
    nodes.append(helper.make_node("ReduceMean", [f"h{layers}"], ["y"], axes=[1], keepdims=0))
    write_onnx(file, nodes, (["b", 64, 32], ["b", 512]), weights)
    return Model("sequence, 8 KB", file, (1, 64, 32))


def image_model(file: Path, layers: int) -> Model:
    """Convolutions over 600 KB: three channels of 224 by 224."""
    random = np.random.default_rng(1)
    weights = {"w0": random.normal(0, 0.2, (32, 3, 3, 3)).astype(np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w0"], ["h0"], strides=[2, 2], pads=[1, 1, 1, 1])]
    for index in range(1, layers + 1):
        weights[f"w{index}"] = random.normal(0, 0.08, (32, 32, 3, 3)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [f"h{index - 1}", f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{index}"], [f"h{index}"]),
        ]
    nodes.append(helper.make_node("ReduceMean", [f"h{layers}"], ["y"], axes=[2, 3], keepdims=0))
    write_onnx(file, nodes, (["b", 3, 224, 224], ["b", 32]), weights)
    return Model("image, 600 KB", file, (1, 3, 224, 224))


def sized(make: Callable[[Path, int], Model], file: Path, least_ms: float) -> Model:
    """The model with as many layers as take so long on one thread here."""
    layers = 1
    while True:
        model = make(file, layers)
        session, feed = bare_session(file, 1), {"x": model.feed()}
        # The fastest of some: what else runs here makes the others slower.
        if min(_seconds_of(session, feed) for _ in range(15)) * 1e3 >= least_ms:
            return model
        layers += max(1, layers // 2)


def _seconds_of(session: Any, feed: dict[str, Any]) -> float:
    start = time.perf_counter()
    session.run(["y"], feed)
    return time.perf_counter() - start


def bare_session(file: Path, threads: int) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, as the server does
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def bare_loop(pipe: Connection, model: Model, threads: int) -> None:
    """In a process of its own: for each number of seconds that comes, runs so long and answers with the rate."""
    session, feed = bare_session(model.file, threads), {"x": model.feed()}
    while True:
        seconds = pipe.recv()
        count, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            session.run(["y"], feed)
            count += 1
        pipe.send(count / passed)


@contextmanager
def pinned(cores: list[int]) -> Iterator[None]:
    """Runs this thread, and what it starts, on some cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running_bare(model: Model, threads: int, cores: list[int]) -> Iterator[tuple[Connection, psutil.Process]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=bare_loop, args=(theirs, model, threads))
    with pinned(cores):
        process.start()
    theirs.close()  # so that its end is seen
    assert process.pid
    try:
        ours.send(0.2)  # loads the model, warms up
        ours.recv()
        yield ours, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


@contextmanager
def running_server(model: Model, threads: int, cores: list[int]) -> Iterator[tuple[int, psutil.Process]]:
    read_end, write_end = os.pipe()
    command = [
        sys.executable,
        "-m",
        "nodeagent.modelserver",
        "--model",
        "m",
        "--version",
        "1",
        "--log-level",
        "warning",
    ]
    flags = ["--file", str(model.file), "--threads", str(threads), "--ready-fd", str(write_end)]
    with pinned(cores):  # all threads of a process get the cores of the one that starts it
        process = psutil.Popen([*command, *flags], pass_fds=[write_end])
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            yield json.loads(pipe.readline())["port"], process
    finally:
        process.terminate()
        process.wait()


def load_with_h2load(port: int, request: bytes, concurrency: int, seconds: float) -> float:
    """Requests a second."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + struct.pack(">I", len(request)) + request)
        body.flush()
        command = [
            "h2load",
            "-c",
            str(concurrency),
            "-m",
            "1",
            "-t",
            "1",
            "-d",
            body.name,
            "-D",
            f"{seconds * 1e3:.0f}ms",
        ]
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        done = subprocess.run(
            [*command, *headers, f"http://127.0.0.1:{port}{INFER}"], capture_output=True, text=True, check=True
        )
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    assert rate, done.stdout
    return float(rate[1])


def load_with_threads(port: int, request: bytes, concurrency: int, seconds: float) -> float:
    """Requests a second of gRPC's synchronous client, a connection for each thread."""
    counts, end = [0] * concurrency, time.perf_counter() + seconds

    def call(index: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            infer: Any = channel.unary_unary(INFER)
            while time.perf_counter() < end:
                infer(request)
                counts[index] += 1

    start = time.perf_counter()
    threads = [threading.Thread(target=call, args=(index,)) for index in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def server_counts(port: int) -> tuple[int, int]:
    """Requests that the server answered, and that it failed."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        [stats] = stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
    return stats.inference_stats.success.count, stats.inference_stats.fail.count


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(model: Model, arguments: argparse.Namespace, load: Load) -> dict[str, Series]:
    """A series for the bare loop ("bare") and one for the server at each concurrency ("1", "4", ...)."""
    series: dict[str, Series] = defaultdict(Series)
    cores, rest = split_cores(arguments.threads)
    with (
        pinned(rest),
        running_bare(model, arguments.threads, cores) as (bare, bare_process),
        running_server(model, arguments.threads, cores) as (port, server),
    ):
        request = model.request()
        load(port, request, 1, 0.5)
        for _ in range(arguments.rounds):
            measure_bare(series["bare"], bare, bare_process, arguments.seconds)
            for concurrency in arguments.concurrency:
                send = partial(load, port, request, concurrency, arguments.seconds)
                measure_server(series[str(concurrency)], port, server, send)
        # The end of its time cuts off what a load has under way on each connection; nothing else may fail.
        if (failed := server_counts(port)[1]) > 1 + arguments.rounds * sum(arguments.concurrency):
            raise SystemExit(f"{failed} requests failed: the figures mean nothing")
    return series


def measure_bare(series: Series, pipe: Connection, process: psutil.Process, seconds: float) -> None:
    cpu = cpu_s(process)
    pipe.send(seconds)
    rate = pipe.recv()
    series.rates.append(rate)
    series.cpu_ms.append((cpu_s(process) - cpu) * 1e3 / (rate * seconds))


def measure_server(series: Series, port: int, process: psutil.Process, send: Callable[[], float]) -> None:
    before, cpu = server_counts(port), cpu_s(process)
    series.rates.append(send())
    cpu, after = cpu_s(process) - cpu, server_counts(port)
    series.cpu_ms.append(cpu * 1e3 / max(1, after[0] - before[0]))


def split_cores(threads: int) -> tuple[list[int], list[int]]:
    """Cores for whom is measured, and for the load; all for both where there are too few."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[:threads], cores[threads:]) if len(cores) > threads else (cores, cores)


def ratio(series: dict[str, Series], concurrency: int) -> float:
    pairs = zip(series[str(concurrency)].rates, series["bare"].rates, strict=True)
    return statistics.median(served / bare for served, bare in pairs)


def tell(model: Model, series: dict[str, Series], concurrencies: list[int]) -> None:
    bare = series["bare"]
    print(f"\n{model.name}: {1000 / statistics.median(bare.rates):.3f} ms an inference in the bare loop")
    print(f"{'':24}{'inferences/s':>14}{'ratio':>8}{'CPU ms each':>14}")
    print(f"{'bare loop':24}{statistics.median(bare.rates):14.1f}{1:8.2f}{statistics.median(bare.cpu_ms):14.3f}")
    for concurrency in concurrencies:
        served = series[str(concurrency)]
        print(
            f"{f'server, concurrency {concurrency}':24}{statistics.median(served.rates):14.1f}"
            f"{ratio(series, concurrency):8.2f}{statistics.median(served.cpu_ms):14.3f}"
        )


def goal(model: Model, series: dict[str, Series]) -> dict[str, Any]:
    """Of throughput, so where callers leave no gaps; with one caller at a time the replica waits for it in between."""
    name = f"throughput of the model server over a bare loop, {model.name}, {BUSY} callers"
    return {"name": name, "measured": round(ratio(series, BUSY), 3), "goal": GOAL, "better": "higher"}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The built-in model server against a bare onnxruntime loop.")
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object with the goals")
    parser.add_argument("--threads", type=int, default=1, help="of an inference (default 1)")
    arguments = parser.parse_args()
    arguments.rounds, arguments.seconds = (4, 1.0) if arguments.quick else (9, 1.75)
    arguments.concurrency = [1, BUSY] if arguments.quick else [1, BUSY, 16]
    return arguments


def main() -> None:
    arguments = parse_arguments()
    load = load_with_h2load if shutil.which("h2load") else load_with_threads
    print(f"load generator: {load.__name__.removeprefix('load_with_')}, {arguments.rounds} rounds of", end=" ")
    print(f"{arguments.seconds:g} s, {arguments.threads} thread(s)")
    goals: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for make, least_ms in ((tiny_model, 0.0), (sequence_model, 8.0), (image_model, 16.0)):
            model = sized(make, Path(folder) / f"{make.__name__}.onnx", least_ms)
            series = measure(model, arguments, load)
            tell(model, series, arguments.concurrency)
            if least_ms:
                goals.append(goal(model, series))
    if arguments.json:
        print(json.dumps({"goals": goals}))


if __name__ == "__main__":
    main()
