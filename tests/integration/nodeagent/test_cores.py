"""What a replica's process gets of the CPU: its cores, and as many threads as were decided."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.devices.cpu import parse_cores
from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.integration.nodeagent.conftest import StartAgent
from tests.integration.nodeagent.stand_in import READY, StandInController

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
# Of more threads than cores, so that a runtime that counts cores instead would be seen.
MANY = 9
# gRPC starts and ends threads of its own as it likes.
GRPC_THREADS = 3


def desired(
    replica_id: str, version: resources_pb2.Version, cores: list[int], threads: int
) -> agent_pb2.DesiredReplica:
    allocation = resources_pb2.Allocation(cores=cores, threads=threads)
    return agent_pb2.DesiredReplica(replica_id=replica_id, version=version, allocation=allocation)


def allowed_cores(pid: int) -> set[tuple[int, ...]]:
    """Of all threads of a process, as proc(5)'s status tells."""
    found = set()
    for task in tasks(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # this thread has just ended
            lines = (task / "status").read_text().splitlines()
            found.add(parse_cores(next(line.split()[1] for line in lines if line.startswith("Cpus_allowed_list:"))))
    return found


def environment(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def test_cores_and_threads_are_those_of_the_allocation(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    usable = sorted(os.sched_getaffinity(0))
    start_agent("--spare-servers", "0")  # each starts by itself, with its variables from its first instruction
    version = controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))
    controller.want_all(
        desired("one", version, usable[-1:], threads=1), desired("many", version, usable[:2], threads=MANY)
    )
    one, many = controller.wait_seen("one", READY).pid, controller.wait_seen("many", READY).pid
    for pid, cores, threads in ((one, usable[-1:], 1), (many, usable[:2], MANY)):
        assert allowed_cores(pid) == {tuple(cores)}
        given = environment(pid)
        assert {name: given.get(name) for name in THREAD_VARIABLES} == dict.fromkeys(THREAD_VARIABLES, str(threads))
    # onnxruntime reads none of these: it has its threads, less the one that asks, from its own option.
    # gRPC has more of its own where it had to wait for a core, and ends them after some twenty idle seconds.
    wait_for(lambda: abs(len(tasks(many)) - len(tasks(one)) - (MANY - 1)) <= GRPC_THREADS, "as many threads", 60)


COUNT_THREADS = """
import json, os, sys
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
before = len(os.listdir("/proc/self/task"))
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
print(json.dumps(len(os.listdir("/proc/self/task")) - before))
"""


def count_threads(model: Path, variable: int, option: int) -> int:
    """How many threads a session of onnxruntime starts."""
    ran = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS, str(model), str(option)],
        env={**os.environ, "OMP_NUM_THREADS": str(variable)},
        capture_output=True,
        check=True,
    )
    return int(json.loads(ran.stdout))


@pytest.mark.parametrize("option", [1, 4])
def test_onnxruntime_heeds_its_own_option_and_not_omp_num_threads(tmp_path: Path, option: int) -> None:
    model = write_scale_model(tmp_path / "model.onnx", 3.0)
    # One of them is the thread that asks.
    assert [count_threads(model, variable, option) for variable in (1, 4, 16)] == [option - 1] * 3
