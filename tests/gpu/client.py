"""A process on the GPU, as a test sees it."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_ANSWER_S = 60.0


class Client:
    """tests/gpu/worker.py with this environment. It has computed once when this returns."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.gpu.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=_ROOT,
            start_new_session=True,
        )
        self.multiprocessors: int = self.read()["multiprocessors"]

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Raises AssertionError where it has ended, or says nothing for a minute."""
        assert self._process.stdout
        is_there = select.select([self._process.stdout], [], [], _ANSWER_S)[0]
        line = self._process.stdout.readline() if is_there else b""
        assert line, f"no answer; exit code {self._process.poll()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, line: str) -> dict[str, Any]:
        self.tell(line)
        return self.read()

    def speed(self, seconds: float = 2.0) -> float:
        """Launches a second."""
        return float(self.ask(f"spin {seconds}")["launches_per_s"])

    def allocates(self, size_bytes: int) -> bool:
        return bool(self.ask(f"allocate {size_bytes}")["allocated"])

    def break_context(self) -> int:
        """Writes where it has no memory. The error that CUDA tells it; 0: none."""
        return int(self.ask("break 4096")["code"])

    def leave(self) -> int:
        """Its exit code."""
        assert self._process.stdin
        self._process.stdin.close()
        return self._process.wait(_ANSWER_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(_ANSWER_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
