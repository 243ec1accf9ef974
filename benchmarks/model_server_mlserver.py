"""MLServer for the comparison, in an environment of its own, since its packages do not go with those of the yard."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[1] / ".cache" / "mlserver"
# The rest as it is here: what computes is the same.
PACKAGES = ("mlserver==1.7.1", *(f"{name}=={version(name)}" for name in ("onnxruntime", "numpy")))
_RUNTIME = Path(__file__).with_name("model_server_mlserver_runtime.py")


def make_environment() -> Path:
    """Its program. Minutes the first time. Raises subprocess.CalledProcessError where the packages cannot be had."""
    program, stamp = ENVIRONMENT / "bin" / "mlserver", ENVIRONMENT / "complete"
    wanted = " ".join((*PACKAGES, sys.version))
    if stamp.is_file() and stamp.read_text() == wanted:
        return program
    print("making an environment for MLServer in", ENVIRONMENT, file=sys.stderr, flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    python = str(ENVIRONMENT / "bin" / "python")
    if shutil.which("uv"):
        _run(["uv", "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT)])
        _run(["uv", "pip", "install", "--quiet", "--python", python, *PACKAGES])
    else:
        _run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
    stamp.write_text(wanted)
    return program


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=900)


def write_repository(folder: Path, file: Path, threads: int, ports: Sequence[int]) -> None:
    """What `mlserver start` reads, with the settings that were found to be its fastest. `ports`: gRPC's and HTTP's."""
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "metrics_endpoint": None,
        "host": "127.0.0.1",
        "grpc_port": ports[0],
        "http_port": ports[1],
        "grpc_max_message_length": 64 << 20,
    }
    model = {
        "name": "m",
        "implementation": f"{_RUNTIME.stem}.OnnxModel",
        "parameters": {"uri": str(file), "version": "1", "extra": {"threads": threads}},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    shutil.copy(_RUNTIME, folder)
