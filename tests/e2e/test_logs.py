"""`modelyard logs` through the whole yard: from the server's standard error to a person's terminal."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.harness.yard import Yard, replica_pid

MODEL, REPLICA = "spoken", "spoken-production-v1-1"


class Command:
    """`modelyard logs` as a process; `said` is what it has printed so far."""

    def __init__(self, yard: Yard, *arguments: str) -> None:
        command = [sys.executable, "-m", "modelyard.cli", "logs", *arguments]
        command += ["--controller", yard.controller.facts["address"]]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said = b""
        self._reading = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        assert self.process.stdout
        while piece := os.read(self.process.stdout.fileno(), 65536):
            self.said += piece

    def read(self) -> "Command":
        """In the background from now on."""
        self._reading.start()
        return self

    def wait_said(self, text: bytes) -> None:
        try:
            wait_for(lambda: text in self.said, repr(text))
        except AssertionError as error:
            raise AssertionError(f"{error}; but: {self.said[-2000:]!r}") from None

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it said on standard error."""
        code = self.process.wait(60)
        self._reading.join(60)
        assert self.process.stderr
        return code, self.process.stderr.read().decode()


@pytest.fixture(scope="module")
def served(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    yard.register(MODEL, write_scale_model(tmp_path_factory.mktemp("model") / "scale.onnx", 2.0))
    yard.set_alias(MODEL, "production", 1)
    yard.deploy(MODEL)
    yard.wait_serving(MODEL, version=1, replicas=1)
    return yard


@pytest.fixture
def logs(served: Yard) -> Iterator[Callable[..., Command]]:
    """Runs the command, and reads what it prints unless told not to."""
    commands: list[Command] = []

    def run(*arguments: str, read: bool = True) -> Command:
        commands.append(Command(served, *arguments))
        return commands[-1].read() if read else commands[-1]

    yield run
    for command in commands:
        command.process.kill()
        command.process.wait()


def folder_of_replica(yard: Yard) -> Path:
    return yard.folder / "agent" / "replicas" / REPLICA


def kill_server(yard: Yard) -> None:
    before = yard.replicas(MODEL)[0].restarts
    os.kill(replica_pid(yard, yard.replicas(MODEL)[0]), signal.SIGKILL)
    wait_for(lambda: yard.replicas(MODEL)[0].restarts > before, "a restart")
    yard.wait_serving(MODEL, version=1, replicas=1)


def test_a_log_is_printed_whole_or_its_end(served: Yard, logs: Callable[..., Command]) -> None:
    with (folder_of_replica(served) / "log").open("ab") as log:
        log.write(b"\xff\x00 no text\nthe last line\n")
    whole = logs(REPLICA)
    assert whole.end() == (0, "")
    assert b"serving model=spoken version=1" in whole.said
    assert whole.said == (folder_of_replica(served) / "log").read_bytes()
    tail = logs("spoken-prod", "--tail", "2")
    assert tail.end() == (0, "")
    assert tail.said == b"\xff\x00 no text\nthe last line\n"


def test_a_follower_sees_the_restart_and_the_run_before_can_be_read_after_it(
    served: Yard, logs: Callable[..., Command]
) -> None:
    follower = logs(REPLICA, "--follow")
    follower.wait_said(b"serving model=spoken")
    with (folder_of_replica(served) / "log").open("ab") as log:
        log.write(b"last words")
    follower.wait_said(b"last words")
    kill_server(served)
    follower.wait_said(b"last words\n--- the server was started anew ---\n")
    wait_for(lambda: follower.said.count(b"serving model=spoken") == 2, "the new run's first line")
    before = logs(REPLICA, "--previous")
    assert before.end() == (0, "")
    assert before.said.endswith(b"last words")
    follower.process.send_signal(signal.SIGINT)
    assert follower.end() == (130, "interrupted\n")


def test_a_reader_that_leaves_costs_the_agent_nothing_more(served: Yard, logs: Callable[..., Command]) -> None:
    agent = psutil.Process(served.agent.pid)
    log = str(folder_of_replica(served) / "log")

    def holds_log() -> bool:
        return any(file.path == log for file in agent.open_files())

    follower = logs(REPLICA, "-f")
    wait_for(holds_log, "the agent to open the log")
    follower.process.kill()
    wait_for(lambda: not holds_log(), "the agent to close the log, though nothing is said")


def test_a_huge_log_is_read_no_faster_than_it_is_taken(served: Yard, logs: Callable[..., Command]) -> None:
    size = 300 << 20
    huge = folder_of_replica(served) / "log.before"
    huge.write_bytes(b"")
    os.truncate(huge, size)  # sparse: it costs no disk
    agent, controller = psutil.Process(served.agent.pid), psutil.Process(served.controller.pid)
    before = agent.memory_info().rss + controller.memory_info().rss
    reader = logs(REPLICA, "--previous", read=False)
    wait_for(lambda: any(file.path == str(huge) for file in agent.open_files()), "the agent to open the log")
    assert reader.process.stdout
    first = reader.process.stdout.read(1 << 20)
    read_bytes = len(first)
    time.sleep(1)  # nobody reads meanwhile
    grown = agent.memory_info().rss + controller.memory_info().rss - before
    print(f"grown by {grown >> 20} MiB while the reader slept")
    assert grown < 100 << 20
    while piece := reader.process.stdout.read(1 << 20):
        read_bytes += len(piece)
    assert read_bytes == size
    assert reader.process.wait(60) == 0


def test_whoever_dies_in_the_middle_is_named_and_the_command_fails(served: Yard, logs: Callable[..., Command]) -> None:
    follower = logs(REPLICA, "-f")
    follower.wait_said(b"serving model=spoken")
    served.agent.kill()
    code, error = follower.end()
    assert code == 1
    assert "the log was cut off here (the agent of node local went away" in error
    away = logs(REPLICA)
    code, error = away.end()
    assert code == 1
    assert "node local is away, and its logs are there" in error
    served.agent.start()
    follower = logs(REPLICA, "-f")
    follower.wait_said(b"serving model=spoken")
    served.controller.kill()
    code, error = follower.end()
    assert code == 1
    assert "the log was cut off here" in error
    assert logs(REPLICA).end()[0] == 3
    served.controller.start()
    served.wait_serving(MODEL, version=1, replicas=1)
    again = logs(REPLICA)
    assert again.end() == (0, "")
    assert b"serving model=spoken" in again.said


def test_names_that_mean_none_or_several_are_refused(
    served: Yard, logs: Callable[..., Command], tmp_path: Path
) -> None:
    code, error = logs("spken-production-v1-1").end()
    assert (code, f"did you mean {REPLICA}?" in error) == (1, True)
    served.deploy(MODEL, replicas=2)
    served.wait_serving(MODEL, version=1, replicas=2)
    code, error = logs("spoken").end()
    assert (code, f"spoken is the beginning of {REPLICA}, spoken-production-v1-2" in error) == (1, True)
    served.deploy(MODEL, replicas=1)
    served.wait_serving(MODEL, version=1, replicas=1)


def test_a_follower_ends_well_when_the_replica_stops(served: Yard, logs: Callable[..., Command]) -> None:
    follower = logs("spoken", "-f", "--tail", "1")
    wait_for(lambda: follower.said, "a first line")
    served.undeploy(MODEL)
    assert follower.end() == (0, "")
    assert follower.said.endswith(b"--- the replica has stopped ---\n")
    assert b"draining" in follower.said


def test_why_a_version_failed_can_be_read_after_it_was_taken_back(
    yard: Yard, logs: Callable[..., Command], tmp_path: Path
) -> None:
    yard.register("crashing", write_scale_model(tmp_path / "scale.onnx", 5.0))
    yard.set_alias("crashing", "production", 1)
    yard.deploy("crashing")
    yard.wait_serving("crashing", version=1, replicas=1)
    replica = yard.replicas("crashing")[0]
    os.kill(replica_pid(yard, replica), signal.SIGABRT)
    wait_for(lambda: yard.replicas("crashing")[0].restarts, "a restart")
    yard.undeploy("crashing")
    wait_for(lambda: not yard.replicas("crashing"), "the end of the replica")
    before = logs(replica.replica_id, "--previous")
    assert before.end() == (0, "")
    assert b"serving model=crashing" in before.said


def test_a_replica_that_never_failed_leaves_no_log(yard: Yard, logs: Callable[..., Command], tmp_path: Path) -> None:
    yard.register("quiet", write_scale_model(tmp_path / "scale.onnx", 6.0))
    yard.set_alias("quiet", "production", 1)
    yard.deploy("quiet")
    yard.wait_serving("quiet", version=1, replicas=1)
    replica = yard.replicas("quiet")[0]
    yard.undeploy("quiet")
    wait_for(lambda: not yard.replicas("quiet"), "the end of the replica")
    code, error = logs(replica.replica_id).end()
    assert (code, "it left no log of a failure" in error) == (1, True)
