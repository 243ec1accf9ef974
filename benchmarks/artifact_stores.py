"""A model of 1 GB into each kind of artifact store and back, through a real controller, beside a plain copy.

    python benchmarks/artifact_stores.py [--quick] [--json]      # 64 MiB with --quick

For each store, a folder, S3 (moto's server) and HDFS (scripts/fetch_hdfs brings it; left out where it is not there):
the file is registered over gRPC, which hashes it, looks at it and puts it into the store, and read back over gRPC,
hashed again. The same library copies the same file in and out without anything else, in the same run, with its own
defaults but for time-outs. Client, controller and store share this machine. Memory is the controller's own, sampled
every 10 ms, over what it had when it was ready and had served nothing; that of the process which looks at the file is
told apart.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from controlplane.registry.files.file_systems import open_file_system
from modelyard.v1 import registry_pb2 as pb
from modelyard.v1 import registry_pb2_grpc
from tests.harness.hdfs import running_hdfs, why_not
from tests.harness.programs import Program
from tests.harness.s3 import running_s3

CHUNK_BYTES = 1 << 20
GOAL_MIB = 100
MIB = 1 << 20


@dataclass(frozen=True)
class Figures:
    """Rates in MB/s."""

    store: str
    write: float
    read: float
    plain_write: float
    plain_read: float
    memory_mib: float  # of the controller over its idle
    idle_mib: float
    child_mib: float  # of the largest of its children


class Memory:
    """The largest resident sizes of a process and of its children, in MiB, from `start` to `stop`."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.idle = self.most = self._process.memory_info().rss / MIB
        self.most_of_child = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.01):
            self.most = max(self.most, self._process.memory_info().rss / MIB)
            for child in self._process.children():
                try:
                    self.most_of_child = max(self.most_of_child, child.memory_info().rss / MIB)
                except psutil.NoSuchProcess:
                    continue


def write_model(file: Path, size_bytes: int) -> None:
    """A valid ONNX model of about that size: one weight, added to its input."""
    weight = np.frombuffer(os.urandom(MIB) * (size_bytes // MIB), np.uint8)
    shape = [len(weight)]
    graph = helper.make_graph(
        [helper.make_node("Slice", ["w", "zero", "x"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, ["n"])],
        [numpy_helper.from_array(weight.reshape(shape), "w"), numpy_helper.from_array(np.zeros(1, np.int64), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def seconds(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def register(stub: Any, file: Path, sha256: str) -> None:
    header = pb.CreateVersionRequest.Header(parent="models/large", size_bytes=file.stat().st_size, sha256=sha256)

    def messages() -> Iterator[pb.CreateVersionRequest]:
        yield pb.CreateVersionRequest(header=header)
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield pb.CreateVersionRequest(chunk=chunk)

    version = stub.CreateVersion(messages()).version
    assert version.sha256 == sha256, "something else was registered"


def fetch(stub: Any, sha256: str) -> None:
    digest = hashlib.sha256()
    for response in stub.ReadArtifact(pb.ReadArtifactRequest(sha256=sha256)):
        digest.update(response.chunk)
    assert digest.hexdigest() == sha256, "something else was read"


def copy_plainly(url: str, file: Path, folder: Path) -> tuple[float, float]:
    """How long the library takes in and out."""
    back = folder / "plain"
    if "://" not in url:
        Path(url).mkdir(parents=True)
        stored = Path(url) / "plain"
        return seconds(lambda: shutil.copyfile(file, stored)), seconds(lambda: shutil.copyfile(stored, back))
    fs, there = open_file_system(f"{url}/plain")
    return seconds(lambda: fs.put_file(str(file), there)), seconds(lambda: fs.get_file(there, str(back)))


@contextmanager
def controller(folder: Path, url: str) -> Iterator[Program]:
    arguments = ["--listen", "127.0.0.1:0", "--data", str(folder / "data"), "--artifacts-url", url]
    program = Program("controlplane", arguments, folder / "log")
    program.start()
    try:
        yield program
    finally:
        program.stop()


def measure(name: str, url: str, file: Path, sha256: str, folder: Path) -> Figures:
    folder.mkdir()
    plain_write_s, plain_read_s = copy_plainly(f"{url}-plain", file, folder)
    with controller(folder, url) as program, grpc.insecure_channel(program.facts["address"]) as channel:
        memory = Memory(program.pid)
        memory.start()
        try:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            write_s = seconds(lambda: register(stub, file, sha256))
            read_s = seconds(lambda: fetch(stub, sha256))
        finally:
            memory.stop()
    megabytes = file.stat().st_size / 1e6
    return Figures(
        name,
        megabytes / write_s,
        megabytes / read_s,
        megabytes / plain_write_s,
        megabytes / plain_read_s,
        memory.most - memory.idle,
        memory.idle,
        memory.most_of_child,
    )


def tell(figures: Figures) -> None:
    print(
        f"{figures.store:8}{figures.write:11.0f}{figures.plain_write:8.0f}{figures.write / figures.plain_write:7.2f}"
        f"{figures.read:11.0f}{figures.plain_read:8.0f}{figures.read / figures.plain_read:7.2f}"
        f"{figures.memory_mib:12.0f}{figures.idle_mib:7.0f}{figures.child_mib:8.0f}"
    )


def goals(all_figures: list[Figures]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for figures in all_figures:
        name = f"memory of the controller over idle, {figures.store}, MiB"
        found.append({"name": name, "measured": round(figures.memory_mib, 1), "goal": GOAL_MIB, "better": "lower"})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="A large model into each artifact store and back.")
    parser.add_argument("--quick", action="store_true", help="64 MiB in the place of 1 GiB")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object with the goals")
    arguments = parser.parse_args()
    size_bytes = (64 if arguments.quick else 1024) * MIB
    with tempfile.TemporaryDirectory(prefix="modelyard-stores-") as name, ExitStack() as servers:
        folder = Path(name)
        file = folder / "model.onnx"
        write_model(file, size_bytes)
        sha256 = sha256_of(file)
        s3 = servers.enter_context(running_s3())
        os.environ.update(s3.environment)
        urls = {"folder": str(folder / "artifacts"), "S3": f"{s3.url}/yard"}
        if reason := why_not():
            print(reason)
        else:
            urls["HDFS"] = f"{servers.enter_context(running_hdfs()).url}/yard"
        print(f"{size_bytes // MIB} MiB; MB/s, and the ratio to a plain copy's; MiB of memory")
        print(f"{'':8}{'written':>11}{'plain':>8}{'ratio':>7}{'read':>11}{'plain':>8}{'ratio':>7}", end="")
        print(f"{'controller':>12}{'idle':>7}{'child':>8}")
        figures = [measure(name, url, file, sha256, folder / name) for name, url in urls.items()]
        for one in figures:
            tell(one)
    if arguments.json:
        print(json.dumps({"goals": goals(figures), "figures": [vars(one) for one in figures]}))


if __name__ == "__main__":
    main()
