"""Fifty replicas on one host start, serve and stop, and nothing of them is left."""

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc

from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.server_process import find_marked
from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.integration.nodeagent.conftest import StartAgent
from tests.integration.nodeagent.stand_in import READY, StandInController

COUNT = 50


def links(pid: int) -> list[str]:
    """What each descriptor of a process is."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            found.append(str(path.readlink()))
    return found


def open_files(pid: int) -> Counter[str]:
    """The same, without the numbers that differ each time."""
    return Counter(link.partition(":")[0] for link in links(pid))


def listening_ports(pid: int) -> set[int]:
    connections = psutil.Process(pid).net_connections("tcp")
    return {connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN}


def shared_memory(pid: int) -> set[Path]:
    """The segments that a process has mapped, or open. Other programs on this host have theirs, so that what lies in
    /dev/shm in all tells nothing."""
    maps = [line.split(maxsplit=5)[-1].strip() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {Path(name) for name in (*maps, *links(pid)) if name.startswith("/dev/shm/")}


def infer(port: int) -> float:
    x = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        return float(client.infer("scale", [x], client_timeout=30).as_numpy("y")[0][0])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_replicas_start_serve_and_stop_without_a_trace(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    agent = start_agent("--replicas-per-core", str(COUNT), "--log-level", "debug")
    version = controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))
    replicas = str(tmp_path / "data" / "replicas")
    cores = sorted(os.sched_getaffinity(0))
    log = tmp_path / "agent.log"

    def wait_spares(count: int) -> None:
        wait_for(lambda: log.read_text().count(" waits as a spare server") == count, f"spare number {count}", 100)

    wait_spares(1)
    # One life before, so that what the agent makes once and keeps is there already.
    controller.want(r0=version)
    controller.wait_seen("r0", READY)
    controller.want()
    wait_for(lambda: controller.seen("r0") is None, "the first one's end")
    wait_spares(2)
    files_before, ports_before = open_files(agent.pid), listening_ports(agent.pid)

    began = time.monotonic()
    controller.want_all(
        *(
            agent_pb2.DesiredReplica(
                replica_id=f"r{number}",
                version=version,
                allocation=resources_pb2.Allocation(cores=[cores[number % len(cores)]], threads=1),
            )
            for number in range(COUNT)
        )
    )
    seen = [controller.wait_seen(f"r{number}", READY, timeout_s=200) for number in range(COUNT)]
    started_s = time.monotonic() - began
    assert {infer(replica.port) for replica in seen} == {3.0}
    assert len({replica.pid for replica in seen}) == len({replica.port for replica in seen}) == COUNT
    assert not [replica for replica in controller.reports[-1].replicas if replica.restarts]

    assert {port for replica in seen for port in listening_ports(replica.pid)} >= {replica.port for replica in seen}
    segments = {path for replica in seen for path in shared_memory(replica.pid)}

    began = time.monotonic()
    controller.want()
    wait_for(lambda: not controller.reports[-1].replicas, "their end", 120)
    print(f"{COUNT} replicas: all ready after {started_s:.1f} s, all gone after {time.monotonic() - began:.1f} s")
    assert not list(Path(replicas).iterdir())
    (spare,) = wait_for(
        lambda: found if len(found := find_marked(replicas)) == 1 else None, "one spare and no more", 60
    )
    assert "--spare" in psutil.Process(spare.pid).cmdline() and spare.pid not in {replica.pid for replica in seen}
    assert len(list((tmp_path / "data" / "spares").iterdir())) == 1
    assert listening_ports(agent.pid) == ports_before
    assert not [path for path in segments | shared_memory(agent.pid) if path.exists()]
    # A connection that was closed is let go of a moment later: also one of those that were there before.
    wait_for(lambda: not open_files(agent.pid) - files_before, "the end of the agent's new descriptors")
