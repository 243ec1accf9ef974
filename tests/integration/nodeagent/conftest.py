"""A real agent with real model servers, and a controller that the test plays."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodeagent.server_process import find_marked
from tests.harness.programs import Program
from tests.integration.nodeagent.stand_in import StandInController

StartAgent = Callable[..., Program]
# For an agent that is to find a server healthy: also one that gets no core for seconds.
LONG_PROBES = ("--probe-timeout-s", "30")
# A program for `start_agent`.
PATIENT = "tests.harness.patient_agent"


@pytest.fixture
def short_temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for temporary files whose path leaves room for a socket's, which that of a test may not."""
    with tempfile.TemporaryDirectory(prefix="yard-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def controller() -> Iterator[StandInController]:
    stand_in = StandInController()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def start_agent(controller: StandInController, tmp_path: Path) -> Iterator[StartAgent]:
    """Starts `python -m nodeagent` on the test's data folder, with the flags given."""
    agents: list[Program] = []

    def start(*flags: str, program: str = "nodeagent") -> Program:
        arguments = ["--controller", controller.address, "--node", "n1", "--data", str(tmp_path / "data"), *flags]
        agents.append(Program(program, arguments, tmp_path / "agent.log"))
        agents[-1].start()
        return agents[-1]

    yield start
    for agent in agents:
        agent.kill()
    for identity in find_marked(str(tmp_path / "data" / "replicas")):
        identity.send_signal(signal.SIGKILL)  # a spare may end by itself meanwhile, since its agent has
