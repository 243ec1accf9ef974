"""What an agent finds that an earlier one left: processes, records and folders, whole or half-made."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from modelyard.processes import ProcessIdentity
from modelyard.v1 import resources_pb2
from nodeagent.modelserver.canary_token import CANARY_TOKEN_VARIABLE
from nodeagent.replica_folder import ReplicaFolder
from nodeagent.server_process import LaunchPlan, ServerProcess, end_session, find_marked, launch
from tests.harness.held_port import hold_port
from tests.harness.models import write_scale_model
from tests.harness.programs import is_gone, wait_for
from tests.integration.nodeagent.conftest import StartAgent
from tests.integration.nodeagent.stand_in import READY, StandInController

# As the release before this one wrote it, which knew one runtime, and none that listens where it is told.
OLD_RECORD = """{
 "spec": {
  "replica_id": "r1",
  "model": "scale",
  "version": 1,
  "format": "MODEL_FORMAT_ONNX",
  "sha256": "%(sha256)s",
  "size_bytes": %(size_bytes)d,
  "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
  "cores": [0],
  "threads": 1,
  "memory_bytes": 0,
  "packaging": "PACKAGING_FILE",
  "output_names": []
 },
 "process": {"pid": %(pid)d, "start_time": %(start_time)f},
 "host": "127.0.0.1",
 "port": %(port)d,
 "restarts": 2,
 "canary_s": 0.001,
 "canary_token": "secret"
}"""

# A server that has a child, as Triton has, and is killed.
PARENT = ["sh", "-c", "sleep 600 & exec sleep 600"]


class PreviousLife:
    """What an earlier agent of this data folder did for replica r1."""

    def __init__(self, folder: ReplicaFolder, version: resources_pb2.Version) -> None:
        self.folder = folder
        self.version = version
        self._launched: list[ServerProcess] = []

    def launch(self, command: Callable[[int], list[str]]) -> ServerProcess:
        process = launch(LaunchPlan(self.folder, command, {CANARY_TOKEN_VARIABLE: "secret"}, [0]))
        self._launched.append(process)
        wait_for(lambda: find_marked(str(self.folder.path.parent)), "its environment")
        return process

    def store_record(self, process: ProcessIdentity, port: int, **changes: object) -> None:
        """As the release before would have, with changes."""
        facts = {"sha256": self.version.sha256, "size_bytes": self.version.size_bytes, "port": port}
        facts |= {"pid": process.pid, "start_time": process.start_time}
        record = json.loads(OLD_RECORD % facts)
        (self.folder.path / "state.json").write_text(json.dumps({**record, **changes}))

    def end(self) -> None:
        for process in self._launched:
            process.send_signal(signal.SIGKILL)
            with suppress(psutil.NoSuchProcess):
                psutil.Process(process.identity.pid).wait()
            process.close()


@pytest.fixture
def before(controller: StandInController, tmp_path: Path) -> Iterator[PreviousLife]:
    folder = ReplicaFolder(tmp_path / "data" / "replicas" / "r1")
    folder.prepare()
    life = PreviousLife(folder, controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0)))
    yield life
    life.end()


@pytest.fixture
def model(before: PreviousLife, tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


def server_command(model: Path, port: int = 0) -> Callable[[int], list[str]]:
    flags = ["--model", "scale", "--version", "1", "--file", str(model), "--port", str(port)]
    return lambda fd: [sys.executable, "-P", "-m", "nodeagent.modelserver", *flags, "--ready-fd", str(fd)]


def launch_parent(before: PreviousLife) -> tuple[ServerProcess, psutil.Process]:
    """PARENT and its child, once both sleep: of a program that is about to start the kernel tells no environment."""
    parent = before.launch(lambda _: PARENT)

    def find_sleeping() -> list[psutil.Process]:
        process = psutil.Process(parent.identity.pid)
        both = [process, *process.children()]
        return both[1:] if all(each.cmdline() == ["sleep", "600"] for each in both) else []

    (child,) = wait_for(find_sleeping, "its child")
    return parent, child


def test_a_replica_of_the_release_before_goes_on(
    controller: StandInController, start_agent: StartAgent, before: PreviousLife, model: Path
) -> None:
    process = before.launch(server_command(model))
    port = wait_for(before.folder.read_ready, "its port").port
    before.store_record(process.identity, port)
    controller.want(r1=before.version)
    start_agent()
    replica = controller.wait_seen("r1", READY)
    assert (replica.pid, replica.port, replica.restarts, replica.runtime) == (process.identity.pid, port, 2, "")
    assert not replica.HasField("start_times")
    # What is wanted now is what it serves, though the record tells less than the wish.
    seen_before = len(controller.reports)
    controller.want(r1=before.version)
    wait_for(lambda: controller.reports[seen_before:], "a report")
    assert controller.wait_seen("r1", READY).pid == process.identity.pid
    controller.want()
    wait_for(lambda: controller.seen("r1") is None, "its end")


def test_a_server_that_was_told_its_port_is_awaited_there(
    controller: StandInController, start_agent: StartAgent, before: PreviousLife, model: Path
) -> None:
    with hold_port() as held:
        port = int(held.getsockname()[1])
        process = before.launch(server_command(model, port))
        before.store_record(process.identity, 0, runtime="built-in", planned_port=port)
        before.folder.ready.unlink()  # such a server writes no line
        controller.want(r1=before.version)
        start_agent()
        replica = controller.wait_seen("r1", READY)
    assert (replica.pid, replica.port) == (process.identity.pid, port)


def test_what_is_half_made_is_removed(start_agent: StartAgent, before: PreviousLife) -> None:
    folder = before.folder
    folder.log.write_text("began")
    (folder.path / "state.json.new").write_text('{"spec": ')
    (folder.path / "model_repository" / "scale" / "1").mkdir(parents=True)
    spare = folder.path.parents[1] / "spares" / "0123456789abcdef"
    spare.mkdir(parents=True)
    (spare / "log").write_text("")
    start_agent("--spare-servers", "0")
    assert not list(folder.path.parent.iterdir())
    assert not spare.exists()


def test_a_record_of_a_process_that_has_ended_is_no_reason_to_touch_who_has_its_number(
    controller: StandInController, start_agent: StartAgent, before: PreviousLife
) -> None:
    process = before.launch(lambda _: ["sleep", "600"])
    before.store_record(ProcessIdentity(os.getpid(), 1.0), 4000)
    start_agent()
    assert not process.identity.is_alive()  # of this yard, and nobody knows what it is


def test_what_a_dead_server_started_is_ended_and_nothing_else(before: PreviousLife) -> None:
    parent, child = launch_parent(before)
    other = before.launch(lambda _: ["sleep", "600"])
    parent.send_signal(signal.SIGKILL)
    psutil.Process(parent.identity.pid).wait()
    assert end_session(parent.identity, "another folder") == []
    assert end_session(parent.identity, parent.marker) == [child.pid]
    wait_for(lambda: is_gone(child), "the child's end")
    assert other.identity.is_alive()


@pytest.mark.parametrize("dies", ["under the agent", "between two agents"])
def test_a_replica_whose_server_died_and_left_a_child_starts_again_without_it(
    dies: str, controller: StandInController, start_agent: StartAgent, before: PreviousLife
) -> None:
    parent, child = launch_parent(before)
    before.store_record(parent.identity, 0)
    controller.want(r1=before.version)
    if dies == "under the agent":
        start_agent()
        assert child.is_running()
    parent.send_signal(signal.SIGKILL)
    if dies == "between two agents":
        psutil.Process(parent.identity.pid).wait()
        start_agent()
    assert controller.wait_seen("r1", READY).pid != parent.identity.pid
    wait_for(lambda: is_gone(child), "the child's end")  # it was killed before, and may wait for a core to end on
