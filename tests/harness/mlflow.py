"""A real MLflow, each part in an environment of its own, since its packages do not go with those of the yard.

`make_environments` installs from the package registry into .cache, once. The server's has all of MLflow, and makes what
is in the store; the client's has this project with its extra `mlflow`, and nothing else.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.harness.held_port import hold_port

ROOT = Path(__file__).parents[2]
_START_TIMEOUT_S = 120.0
_SERVER_PACKAGES = ["mlflow==3.17.2", "onnx==1.19.1", "onnxruntime==1.23.2"]
_CLIENT_PACKAGES = ["mlflow-skinny==3.17.2"]
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


class Environments(NamedTuple):
    """The Python of each."""

    server: Path
    client: Path


def make_environments() -> Environments:
    """Minutes the first time. Raises subprocess.CalledProcessError where the registry cannot be reached."""
    folder = ROOT / ".cache" / "mlflow"
    project = ["--config-settings", "editable_mode=compat", "--editable", f"{ROOT}[mlflow]"]
    return Environments(
        _make(folder / "server", _SERVER_PACKAGES), _make(folder / "client", [*_CLIENT_PACKAGES, *project])
    )


def _make(folder: Path, packages: list[str]) -> Path:
    python, stamp = folder / "bin" / "python", folder / "complete"
    wanted = " ".join([*packages, (ROOT / "pyproject.toml").read_text()])
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    if shutil.which("uv") and subprocess.run(["uv", "--version"], check=False, capture_output=True).returncode == 0:
        _run(["uv", "venv", "--quiet", "--python", sys.executable, str(folder)])
        _run(["uv", "pip", "install", "--quiet", "--python", str(python), *packages])
    else:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    stamp.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=900)


@contextmanager
def running_mlflow(python: Path, folder: Path) -> Iterator[str]:
    """The tracking URI of a server that keeps all it has in `folder`, and is gone after the block."""
    held = hold_port()  # it takes many seconds until it listens there
    port = held.getsockname()[1]
    command = [
        str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    with held:
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **_QUIET}, start_new_session=True
            )
        try:
            uri = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(uri, process, folder / "log")
            yield uri
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it starts others
            process.wait()


def _wait_until_it_answers(uri: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"MLflow did not start:\n{log.read_text()[-4000:]}") from None
            time.sleep(0.1)


def run_script(python: Path, script: str, *arguments: str) -> str:
    """What it printed. Raises AssertionError with its errors where it fails."""
    done = subprocess.run(
        [str(python), "-c", script, *arguments],
        check=False, capture_output=True, text=True, timeout=300, env={**os.environ, **_QUIET},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
