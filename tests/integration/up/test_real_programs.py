"""`modelyard up` with the real programs: what it serves, and what it leaves behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import modelyard
from router.files import make_run_folder
from tests.harness.models import write_scale_model
from tests.harness.programs import find_users, is_gone, wait_for

# A yard takes ten seconds to start while other tests run.
pytestmark = pytest.mark.timeout(300)

CLI = [sys.executable, "-m", "modelyard.cli"]


class Up:
    """A running `modelyard up`; `family` are the processes below it."""

    def __init__(self, data: Path, *options: str, **environment: str) -> None:
        ports = ["--listen", "127.0.0.1:0", "--controller-listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*CLI, "up", "--json", "--data", str(data), *ports, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.facts: dict[str, Any] = json.loads(line) if line else {}

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def program(self, module: str) -> psutil.Process:
        """That of the three which runs this module."""
        below = psutil.Process(self.process.pid).children()
        return next(process for process in below if process.cmdline()[3] == module)

    def command(self, *arguments: str) -> str:
        environment = {"MODELYARD_CONTROLLER": self.facts["controller"], "MODELYARD_ROUTER": self.facts["router"]}
        done = subprocess.run(
            [*CLI, *arguments], check=False, capture_output=True, text=True, env={**os.environ, **environment}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate()
        return self.process.returncode


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where programs leave what they do not tell of."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def up(data: Path, home: Path) -> Iterator[Up]:
    running = Up(data, HOME=str(home), TMPDIR=str(home))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("served")
    running = Up(folder / "data")
    serve(running, folder)
    yield running
    running.stop()


def serve(up: Up, folder: Path) -> None:
    model = folder / "scale.onnx"
    write_scale_model(model, 2.0)
    assert up.command("register", "scale", str(model)) == "scale@1"
    up.command("alias", "set", "scale", "production", "1")
    up.command("deploy", "scale")


def ask(up: Up) -> list[float]:
    with modelyard.Client(up.facts["router"]) as yard:
        answer = yard.infer("scale", x=np.array([[1, 2, 3, 4]], np.float32))
    return [float(value) for value in next(iter(answer.values())).ravel()]


def gone(family: list[psutil.Process]) -> bool:
    return all(map(is_gone, family))


def can_connect(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as trial:
        return trial.connect_ex((host, int(port))) == 0


def test_it_serves_leaves_nothing_and_serves_again(up: Up, data: Path, home: Path, tmp_path: Path) -> None:
    serve(up, tmp_path)
    expected = [2.0, 4.0, 6.0, 8.0]
    assert ask(up) == expected
    family = up.family()
    assert len(family) >= 5  # three programs, Envoy, a replica
    assert up.stop() == 0
    assert gone(family)
    assert list(home.iterdir()) == []
    assert not can_connect(up.facts["router"]) and not can_connect(up.facts["controller"])

    again = Up(data)
    try:
        again.command("deploy", "scale")  # waits until it is ready
        assert ask(again) == expected
    finally:
        again.stop()


@pytest.mark.parametrize(
    "named", [["scale"], ["scale", "--alias", "production"], ["scale", "--version", "1"], ["scale@1"]]
)
def test_an_inference_from_the_command_line(served: Up, tmp_path: Path, named: list[str]) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2, 3, 4]], np.float32))
    for value in ("[[1, 2, 3, 4]]", f"@{tmp_path / 'x.npy'}"):
        answer = json.loads(served.command("infer", *named, "--input", f"x={value}", "--json"))
        assert answer == {"y": {"datatype": "FP32", "shape": [1, 4], "data": [2.0, 4.0, 6.0, 8.0]}}


def test_a_second_one_on_the_same_data_is_refused(up: Up, data: Path) -> None:
    second = subprocess.run([*CLI, "up", "--data", str(data)], check=False, capture_output=True, text=True)
    assert second.returncode == 1
    assert f"in use by another yard, process {up.process.pid} " in second.stderr and second.stdout == ""


def test_a_port_that_is_taken_ends_it_with_the_reason(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        failed = subprocess.run(
            [*CLI, "up", "--data", str(data), "--listen", "127.0.0.1:0", "--controller-listen", address],
            check=False,
            capture_output=True,
            text=True,
        )
    assert failed.returncode == 1 and address in failed.stderr and "Traceback" not in failed.stderr
    assert not find_users(data)


def test_killed_outright_it_takes_everything_with_it(up: Up, tmp_path: Path) -> None:
    serve(up, tmp_path)
    family = up.family()
    up.stop(signal.SIGKILL)
    wait_for(lambda: gone(family), "the end of all processes", 100)


def test_a_second_ctrl_c_ends_everything_at_once_and_nobody_else(up: Up, data: Path, tmp_path: Path) -> None:
    serve(up, tmp_path)
    family = up.family()
    # What the agent adopts when it is back is nobody's child, and must go as well.
    up.program("nodeagent").kill()
    # A stranger that works on the yard's files, in a session of its own.
    stranger = subprocess.Popen(["tail", "-f", str(data / "logs" / "agent.log")], start_new_session=True)
    assert up.process.stderr is not None
    while "agent is back" not in up.process.stderr.readline():
        assert up.process.poll() is None
    # It would end in order if the second signal came late: the first to be stopped hangs.
    up.program("router").suspend()
    up.process.send_signal(signal.SIGINT)
    while "stopping" not in up.process.stderr.readline():
        assert up.process.poll() is None

    def interrupt() -> bool:
        up.process.send_signal(signal.SIGINT)
        return up.process.poll() is not None

    wait_for(interrupt, "the end", 60)
    assert up.process.returncode == 130
    wait_for(lambda: gone(family), "the end of all processes", 60)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    # Its sockets, which the next router with this data would have taken over; so deep a folder has them elsewhere.
    shutil.rmtree(make_run_folder(data / "router"))
