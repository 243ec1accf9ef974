"""NVIDIA's MPS, played by a stand-in for its control program; tests/stubs/mps says how strict that is.

stub = MpsStub(tmp_path)
stub.use(monkeypatch)          # every process that is started from here on finds it
stub.play("hang")
stub.commands()                # ["get_server_list", "terminate_client 12 34", ...]
"""

import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

_PROGRAMS = Path(__file__).parents[1] / "stubs" / "mps"


def find_session(leader: int) -> list[int]:
    """The pids of its processes that live, zombies left out: whose parent was killed may have nobody to bury it."""
    return [process.pid for process in psutil.process_iter() if _lives_in_session(process, leader)]


def _lives_in_session(process: psutil.Process, leader: int) -> bool:
    try:
        return os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ProcessLookupError):
        return False


class MpsStub:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "mps-stub"
        self.folder.mkdir()
        python = Path(sys.executable).parent  # of which the program is to be an interpreter's
        self.environment = {
            "PATH": os.pathsep.join([str(_PROGRAMS), str(python), os.environ["PATH"]]),
            "MPS_STUB": str(self.folder),
        }

    @property
    def program(self) -> str:
        return str(_PROGRAMS / "nvidia-cuda-mps-control")

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def play(self, what: str = "") -> None:
        """From now on: "hang", "refuse", "fault"; "": all is well."""
        (self.folder / "play").write_text(what)

    def end_daemons(self) -> None:
        """What a killed agent has left: no test is to leave it behind."""
        for started in self.events("started"):
            for pid in find_session(started["pid"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(started["pipe"], ignore_errors=True)

    def log(self) -> list[dict[str, Any]]:
        path = self.folder / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of that name: "started", "client came", "client killed without terminate_client", "refused", ..."""
        return [entry for entry in self.log() if entry.get("event") == name]

    def commands(self) -> list[str]:
        """Those that were answered, the daily round of watching left out."""
        asked = [entry["command"] for entry in self.log() if "answer" in entry]
        return [command for command in asked if not command.startswith(("get_server_", "get_client_"))]
