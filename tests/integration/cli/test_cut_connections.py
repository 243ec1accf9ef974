"""Files on their way to and from a controller whose connection is cut: what is sent again, and what is told."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from modelyard.cli import reconnecting
from modelyard.cli.app import make_app

CLI = [sys.executable, "-m", "modelyard.cli"]
MODEL_BYTES = 5 << 20


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(MODEL_BYTES))
    return path


def run(controller: Any, *arguments: str) -> Result:
    return CliRunner().invoke(make_app(), list(arguments), env={"MODELYARD_CONTROLLER": controller.address})


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnecting, "_FIRST_WAIT_S", 0.01)


def test_an_upload_that_is_cut_sends_the_rest(controller: Any, model_file: Path) -> None:
    controller.cuts = [2, 0, 1]
    result = run(controller, "register", "resnet", str(model_file))
    assert (result.exit_code, result.stdout) == (0, "resnet@1\n")
    assert [header.offset_bytes for header in controller.headers] == [0, 2 << 20, 2 << 20, 3 << 20]
    assert "trying again" in result.stderr and "40 % has arrived before" in result.stderr


def test_a_controller_that_cuts_every_time_is_given_up(controller: Any, model_file: Path) -> None:
    controller.cuts = [0] * 100
    result = run(controller, "register", "resnet", str(model_file), "--json")
    assert result.exit_code == 1 and "Connection reset" in result.stderr and not controller.versions
    assert 2 < len(controller.headers) < 20


def test_content_that_the_yard_has_is_not_sent_again(controller: Any, model_file: Path) -> None:
    run(controller, "register", "resnet", str(model_file))
    result = run(controller, "register", "other", str(model_file))
    assert result.stdout == "other@2\n" and "nothing is sent" in result.stderr
    assert controller.headers[-1].offset_bytes == MODEL_BYTES


def test_a_lost_answer_is_no_second_version(controller: Any, model_file: Path) -> None:
    controller.lost_answers = 1
    result = run(controller, "register", "resnet", str(model_file), "--metric", "top1=0.5")
    assert (result.exit_code, result.stdout) == (0, "resnet@1\n") and len(controller.versions) == 1
    assert "trying again" in result.stderr
    # What somebody else has registered meanwhile is not taken for ours.
    controller.versions[0].description = "somebody else's"
    result = run(controller, "register", "resnet", str(model_file), "--metric", "top1=0.5")
    assert result.exit_code == 1 and "exactly these bytes" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_the_same_command_again_sends_the_rest(
    controller: Any, tmp_path: Path, number: signal.Signals
) -> None:
    model_file = tmp_path / "large.onnx"
    with model_file.open("wb") as file:
        file.truncate(100 << 20)  # more than waits on a connection that nobody reads
    command = [*CLI, "register", "resnet", str(model_file), "--controller", controller.address]
    controller.pause_after = 3
    sending = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert controller.paused.wait(60)
    sending.send_signal(number)
    answer, errors = sending.communicate(timeout=30)
    controller.resume.set()
    assert (sending.returncode, answer) == (130, "")
    assert "the same command again sends the rest" in errors and "Traceback" not in errors
    (arrived,) = controller.arrived.values()
    assert 0 < len(arrived) < 100 << 20
    controller.pause_after = None
    again = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert again.stdout == "resnet@1\n" and "has arrived before: the rest is sent" in again.stderr


def test_a_fetch_that_is_cut_reads_the_rest(controller: Any, model_file: Path, tmp_path: Path) -> None:
    run(controller, "register", "resnet", str(model_file))
    controller.cuts = [100, 3000]
    result = run(controller, "fetch", "resnet@1", str(tmp_path / "back.onnx"))
    assert result.exit_code == 0 and (tmp_path / "back.onnx").read_bytes() == model_file.read_bytes()
    assert result.stderr.count("trying again") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fetch_leaves_nothing_behind(
    controller: Any, model_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run(controller, "register", "resnet", str(model_file))
    controller.pause_after = 3
    folder = tmp_path / "here"
    folder.mkdir()
    command = [*CLI, "fetch", "resnet@1", str(folder / "back.onnx"), "--json", "--controller", controller.address]
    fetching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert controller.paused.wait(60)
    assert list(folder.glob(".back.onnx.*.partial"))
    fetching.send_signal(number)
    answer, errors = fetching.communicate(timeout=30)
    controller.resume.set()
    assert fetching.returncode == 130 and errors.splitlines()[-1] == "interrupted" and "Traceback" not in errors
    assert json.loads(answer)["error"]["code"] == "CANCELLED" and list(folder.iterdir()) == []


def test_a_controller_that_never_answered_is_not_waited_for(model_file: Path) -> None:
    result = CliRunner().invoke(make_app(), ["register", "resnet", str(model_file), "--controller", "127.0.0.1:1"])
    assert result.exit_code == 3 and "trying again" not in result.stderr
