"""The command line as a process: help, interruption, a reader that goes away, the programs it starts."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelyard.v1.resources_pb2 import DeploymentStatus, NodeScheduling

COMMANDS = [
    "up", "controller", "agent", "router", "register", "deploy", "undeploy", "infer", "models", "versions", "replicas",
    "nodes", "status", "logs", "show", "update", "lineage", "fetch", "export", "import", "delete", "restore", "purge",
    "history", "rollback", "alias set", "alias list", "alias compare", "alias remove",
    "node show", "node cordon", "node uncordon", "node drain",
]  # fmt: skip
CLI = [sys.executable, "-m", "modelyard.cli"]


def run(
    arguments: Sequence[str], *, stdout: Any = subprocess.PIPE, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*CLI, *arguments],
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
    )


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in {"controller", "agent", "router"}])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run([*command.split(), "--help"])
    assert result.returncode == 0 and f"Example: modelyard {command}" in result.stdout


@pytest.mark.parametrize("program", ["controller", "agent", "router"])
def test_a_program_gets_its_arguments_and_its_help_untouched(program: str) -> None:
    result = run([program, "--help"])
    assert result.returncode == 0 and f"usage: modelyard {program}" in result.stdout and "--config" in result.stdout
    assert f"Example: modelyard {program} --" in result.stdout
    assert run([program, "--no-such-flag"]).returncode != 0


def test_help_needs_none_of_the_heavy_packages() -> None:
    heavy = ["numpy", "google.protobuf", "tritonclient", "psutil", "pydantic", "rich"]
    script = f"import sys; from modelyard.cli.app import make_app; make_app(); print(set({heavy}) & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "set()\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("un", "undeploy"),
        ("alias s", "set"),
        ("deploy --re", "--replicas"),
        ("agent --data x --rep", "--replicas-per-core"),
    ],
)
def test_completion_is_offered(line: str, expected: str) -> None:
    words = {
        "_MODELYARD_COMPLETE": "complete_bash",
        "COMP_WORDS": f"modelyard {line}",
        "COMP_CWORD": str(len(line.split())),
    }
    script = "import sys; sys.argv[0] = 'modelyard'; from modelyard.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env={**os.environ, **words}
    )
    assert expected in result.stdout.split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("command", "look"), [("deploy resnet", "status"), ("node drain local", "node show local")])
def test_an_interrupted_wait_ends_without_a_stack(
    controller: Any, command: str, look: str, number: signal.Signals
) -> None:
    pending = DeploymentStatus(state=DeploymentStatus.PENDING, message="starting")
    controller.statuses = [pending]
    [yard] = controller.yards
    yard.nodes[0].scheduling.state = NodeScheduling.DRAINING
    yard.replicas.add(node="local", model="resnet", alias="production")
    yard.deployments.add(model="resnet", alias="production", status=pending)
    waiting = subprocess.Popen(
        [*CLI, *command.split(), "--json", "--controller", controller.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    while "starting" not in waiting.stderr.readline():
        assert waiting.poll() is None
    waiting.send_signal(number)
    answer, errors = waiting.communicate(timeout=30)
    assert waiting.returncode == 130 and "Traceback" not in errors and errors.splitlines()[-1] == "interrupted"
    assert f"goes on without you: modelyard {look}\n" in errors and json.loads(answer)["error"]["code"] == "CANCELLED"


@pytest.mark.parametrize("command", ["status", "status --json", "models"])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_goes_away_is_no_error(controller: Any, command: str, buffered: bool) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = run(
        [*command.split(), "--controller", controller.address],
        stdout=write_end,
        PYTHONUNBUFFERED="" if buffered else "1",
    )
    os.close(write_end)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_full_disk_is_told_in_a_sentence(controller: Any) -> None:
    with Path("/dev/full").open("wb") as full:
        result = run(["status", "--controller", controller.address], stdout=full)
    assert (result.returncode, result.stderr) == (1, "modelyard: No space left on device\n")


def test_closed_streams_are_no_error(controller: Any) -> None:
    for stream in (0, 1, 2):
        command = shlex.join([*CLI, "models", "--controller", controller.address])
        result = subprocess.run(["sh", "-c", f"{command} {stream}>&-"], check=False, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")
        assert ("resnet" in result.stdout) == (stream != 1)
