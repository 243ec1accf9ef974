"""The command line as a process: help, interruption, a reader that goes away, the programs it starts."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from modelyard.v1.resources_pb2 import DeploymentStatus

COMMANDS = [
    "up", "controller", "agent", "router", "register", "deploy", "undeploy", "infer", "models", "versions", "replicas",
    "nodes", "status",
]  # fmt: skip
CLI = [sys.executable, "-m", "modelyard.cli"]


def run(arguments: Sequence[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*CLI, *arguments], check=False, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in {"controller", "agent", "router"}])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run([command, "--help"])
    assert result.returncode == 0 and f"Example: modelyard {command}" in result.stdout


@pytest.mark.parametrize("program", ["controller", "agent", "router"])
def test_a_program_gets_its_arguments_and_its_help_untouched(program: str) -> None:
    result = run([program, "--help"])
    assert result.returncode == 0 and f"usage: modelyard {program}" in result.stdout and "--config" in result.stdout
    assert run([program, "--no-such-flag"]).returncode != 0


def test_help_needs_none_of_the_heavy_packages() -> None:
    heavy = ["numpy", "google.protobuf", "tritonclient", "psutil", "pydantic", "rich"]
    script = f"import sys; from modelyard.cli.app import make_app; make_app(); print(set({heavy}) & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "set()\n"


def test_completion_is_offered() -> None:
    words = {"_MODELYARD_COMPLETE": "complete_bash", "COMP_WORDS": "modelyard un", "COMP_CWORD": "1"}
    script = "import sys; sys.argv[0] = 'modelyard'; from modelyard.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env={**os.environ, **words}
    )
    assert "undeploy" in result.stdout.split()


def test_an_interrupted_wait_ends_without_a_stack(controller: Any) -> None:
    controller.statuses = [DeploymentStatus(state=DeploymentStatus.PENDING, message="starting")]
    waiting = subprocess.Popen(
        [*CLI, "deploy", "resnet", "--controller", controller.address], stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    while "starting" not in waiting.stderr.readline():
        assert waiting.poll() is None
    waiting.send_signal(signal.SIGINT)
    _, errors = waiting.communicate(timeout=30)
    assert waiting.returncode == 130 and "Traceback" not in errors


def test_a_reader_that_goes_away_is_no_error(controller: Any) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = subprocess.run(
        [*CLI, "status", "--controller", controller.address], check=False, stdout=write_end, stderr=subprocess.PIPE
    )
    os.close(write_end)
    assert (result.returncode, result.stderr) == (0, b"")
