"""The agent sends the log that it is asked for, beside all that it does."""

import time
from pathlib import Path

import psutil
import pytest

from modelyard.v1 import resources_pb2
from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.integration.nodeagent.conftest import PATIENT, StartAgent
from tests.integration.nodeagent.stand_in import READY, StandInController

LIMIT_BYTES = 3000


@pytest.fixture
def version(controller: StandInController, tmp_path: Path) -> resources_pb2.Version:
    return controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))


def test_a_follower_loses_nothing_while_the_agent_trims_the_log(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version, tmp_path: Path
) -> None:
    start_agent("--log-limit-bytes", str(LIMIT_BYTES), "--probe-interval-s", "0.1")
    controller.want(r1=version)
    controller.wait_seen("r1", READY)
    folder = tmp_path / "data" / "replicas" / "r1"
    followed = controller.ask_log("r1", follow=True, tail_lines=1)
    wait_for(lambda: followed.said, "the first line")
    said = followed.said

    def has_room() -> bool:
        # What is written just while the agent trims is lost, and so is what was not read by then of more than it keeps.
        # It trims above the limit only.
        return (folder / "log").stat().st_size <= LIMIT_BYTES and len(said) - len(followed.said) < LIMIT_BYTES // 2

    with (folder / "log").open("ab", buffering=0) as server:
        for number in range(60):
            wait_for(has_room, "the agent to read and to trim")
            lines = b"".join(b"%d %d\n" % (number, line) for line in range(20))
            server.write(lines)
            said += lines
            time.sleep(0.02)
    wait_for(lambda: followed.said == said, "every line, once and in order")
    assert (folder / "log.1").exists()
    assert (folder / "log").stat().st_size < len(said)


def test_a_log_that_is_asked_for_before_the_server_starts_is_waited_for(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    start_agent()
    data = controller.files.pop(version.sha256)
    controller.want(r1=version)
    followed, looked_at = controller.ask_log("r1", follow=True), controller.ask_log("r1")
    wait_for(lambda: looked_at.end, "an answer")
    assert "its server was not started" in looked_at.end
    assert not followed.has_ended()
    controller.files[version.sha256] = data
    wait_for(lambda: b"serving model=scale" in followed.said, "the first line")
    controller.want()
    wait_for(lambda: followed.end == "all", "the end")
    assert followed.said.endswith(b"--- the replica has stopped ---\n")


def test_a_request_takes_nothing_away_from_what_is_desired(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    start_agent()
    controller.want(r1=version)
    pid = controller.wait_seen("r1", READY).pid
    unknown = controller.ask_log("r2")
    wait_for(lambda: unknown.end, "an answer")
    assert "r2 is not on this node" in unknown.end
    controller.want(r1=version, r2=version)
    controller.wait_seen("r2", READY)
    seen = controller.seen("r1")
    assert seen
    assert (seen.state, seen.pid) == (READY, pid)


def test_readers_that_left_leave_nothing_open(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version, tmp_path: Path
) -> None:
    agent = psutil.Process(start_agent().pid)
    controller.want(r1=version)
    controller.wait_seen("r1", READY)
    log = str(tmp_path / "data" / "replicas" / "r1" / "log")

    def count_open() -> int:
        return sum(file.path == log for file in agent.open_files())

    before = count_open()
    for _ in range(5):  # the stand-in has a few threads only
        followers = [controller.ask_log("r1", follow=True) for _ in range(5)]
        wait_for(lambda followers=followers: all(follower.said for follower in followers), "what each follows")
        for follower in followers:
            follower.refuse_more.set()
        with Path(log).open("ab") as server:
            server.write(b"more\n")
        wait_for(lambda: count_open() == before, "the agent to close what nobody reads")


def test_an_agent_that_stops_its_replicas_lets_their_readers_see_the_end(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version
) -> None:
    agent = start_agent(program=PATIENT)  # the agent itself waits a second for a reader
    controller.want(r1=version)
    controller.wait_seen("r1", READY)
    followed = controller.ask_log("r1", follow=True)
    wait_for(lambda: followed.said, "the first line")
    assert agent.stop() == 0
    wait_for(lambda: followed.end == "all", "the end")
    assert b"draining" in followed.said


def test_the_agent_tells_its_release(controller: StandInController, start_agent: StartAgent) -> None:
    start_agent()
    assert controller.hellos[0].release
