"""One program of the yard as a real process that a test can stop, kill and start again."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

START_TIMEOUT_S = 60.0


class Program:
    """`python -m MODULE ARGUMENTS`; its output goes to `log`. `facts` is what it announced when it was ready."""

    def __init__(self, module: str, arguments: list[str], log: Path) -> None:
        self.module, self.arguments, self.log = module, arguments, log
        self.facts: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.module} was not started"
        return self._process.pid

    def start(self) -> None:
        """Returns when it says that it is ready. Raises RuntimeError with the end of its log where it does not."""
        read_end, write_end = os.pipe()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", self.module, *self.arguments, "--ready-fd", str(write_end)],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[write_end],
                    start_new_session=True,
                )
        finally:
            os.close(write_end)
        with os.fdopen(read_end) as pipe:
            line = pipe.readline() if select.select([pipe], [], [], START_TIMEOUT_S)[0] else ""
        if not line:
            self.kill()
            raise RuntimeError(f"{self.module} did not start:\n{self.log_tail()}")
        self.facts = json.loads(line)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM; returns the exit status. Raises subprocess.TimeoutExpired where it does not end."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def log_tail(self, size_bytes: int = 4000) -> str:
        return self.log.read_bytes()[-size_bytes:].decode(errors="replace") if self.log.exists() else ""


def is_gone(process: psutil.Process | int) -> bool:
    """Of a process, or of a pid that is not old. A zombie has gone: its parent may be one that takes its time."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return not found.is_running() or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # perhaps while it was looked at
        return True


def wait_for(condition: Any, what: str | Callable[[], str], timeout_s: float = 60.0) -> Any:
    """The first true value of `condition()`. Raises AssertionError naming `what` after `timeout_s` seconds.

    A function is asked for it then: it can tell how far things came.
    """
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > end:
            named = what if isinstance(what, str) else what()
            raise AssertionError(f"{named} did not come within {timeout_s:.0f} s")
        time.sleep(0.02)
    return value


def find_users(folder: Path) -> list[psutil.Process]:
    """Every process but this one that works on a yard's folder, however it was started.

    Its command line names the folder, or its environment: a model server that was a spare has nothing in the former.
    """
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _uses(process, str(folder))]


def _uses(process: psutil.Process, folder: str) -> bool:
    with suppress(psutil.Error):
        told = [value for name, value in process.environ().items() if name.startswith("MODELYARD_")]
        return any(folder in word for word in (*process.cmdline(), *told))
    return False
