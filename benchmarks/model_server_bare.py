"""The two ends of the scale: a loop around onnxruntime without any server, and a server without any model."""

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from benchmarks.model_server_http2 import frame_message
from benchmarks.model_server_load import percentile
from benchmarks.model_server_models import Model, bare_session
from benchmarks.model_server_targets import Server, find_free_port

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_LARGEST_REQUEST = _LARGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class BareRun:
    """Of rows, not of runs. `latencies_ms`: the median and the 99th percentile of a run; `cpu_ms`: of a row."""

    rate: float
    latencies_ms: tuple[float, float]
    cpu_ms: float


class BareLoop:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def run(self, seconds: float, rows: int = 1) -> BareRun:
        self._pipe.send((seconds, rows))
        answer: BareRun = self._pipe.recv()
        return answer


@contextmanager
def running_bare(model: Model, threads: int, cores: Sequence[int]) -> Iterator[BareLoop]:
    """In a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_pipe, args=(theirs, model, threads, cores))
    process.start()
    theirs.close()  # so that its end is seen
    try:
        loop = BareLoop(ours)
        loop.run(0.2)  # loads the model, warms up
        yield loop
    finally:
        process.terminate()
        process.join()


def _serve_pipe(pipe: Connection, model: Model, threads: int, cores: Sequence[int]) -> None:
    os.sched_setaffinity(0, cores)
    session = bare_session(model.file, threads)
    while True:
        seconds, rows = pipe.recv()
        pipe.send(_run(session, model, seconds, rows))


def _run(session: Any, model: Model, seconds: float, rows: int) -> BareRun:
    feed = {model.input: np.repeat(model.row, rows, axis=0)}
    taken: list[float] = []
    computing, begun = time.process_time(), time.perf_counter()
    now = begun
    while now < begun + seconds:
        before = now
        session.run([model.output], feed)
        now = time.perf_counter()
        taken.append(now - before)
    count = rows * len(taken)
    latencies = percentile(taken, 50) * 1e3, percentile(taken, 99) * 1e3
    return BareRun(count / (now - begun), latencies, (time.process_time() - computing) / count * 1e3)


@contextmanager
def running_echo(model: Model, cores: Sequence[int]) -> Iterator[Server]:
    """Envoy, with the right answer to every request once it has come in whole: shows how fast the load may be."""
    response = pb.ModelInferResponse(model_name="m", model_version="1", raw_output_contents=[model.answer.tobytes()])
    response.outputs.add(name=model.output, datatype="FP32", shape=model.answer.shape)
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        answer, config = Path(folder) / "answer", Path(folder) / "config.json"
        answer.write_bytes(frame_message(response.SerializeToString()))
        config.write_text(json.dumps(_make_echo(port, answer)))
        beside = Path(sys.executable).with_name("envoy")
        binary = str(beside) if beside.exists() else shutil.which("envoy") or sys.exit("there is no Envoy here")
        command = [binary, "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]
        process = subprocess.Popen(command)
        try:
            _wait_open(port, process)
            server = Server("echo", port, process.pid)
            server.pin(cores)
            yield server
        finally:
            process.terminate()
            process.wait()


def _make_echo(port: int, answer: Path) -> dict[str, Any]:
    def filter_of(name: str, kind: str, **options: Any) -> dict[str, Any]:
        return {"name": name, "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.{kind}", **options}}

    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"filename": str(answer)}}}
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "echo",
        "codec_type": "HTTP2",
        "route_config": {
            "max_direct_response_body_size_bytes": _LARGEST_ANSWER,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}],
        },
        "http_filters": [
            filter_of("buffer", "buffer.v3.Buffer", max_request_bytes=_LARGEST_REQUEST),
            filter_of("router", "router.v3.Router"),
        ],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "per_connection_buffer_limit_bytes": _LARGEST_REQUEST,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener]}}


def _wait_open(port: int, process: "subprocess.Popen[Any]") -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    sys.exit(f"Envoy ended with {process.returncode}")
