"""One program of the yard as a child process: its start, its end, its log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from modelyard.errors import FailedPreconditionError

_ROTATE_BYTES = 10 << 20
_TAIL_BYTES = 4000
# In the environment of all that a yard starts, however far from it: the data folder.
_MARKER = "MODELYARD_UP"


class Child:
    """`python -m MODULE`, in a process group of its own, so that a terminal's Ctrl-C does not reach it.

    `data` is the yard's folder, by which `kill_descendants` knows all that comes of this. `log` gets all that it
    prints. `parent_fd` closes when this process ends, however; the program then stops by itself.
    """

    def __init__(
        self, name: str, module: str, *, data: Path, log: Path, parent_fd: int, start_timeout_s: float = 60.0
    ) -> None:
        self.name = name
        self._module = module
        self._data = data
        self._log = log
        self._parent_fd = parent_fd
        self._start_timeout_s = start_timeout_s
        self._log_start = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """None where it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, arguments: list[str]) -> dict[str, Any]:
        """Returns what it announces when it is ready.

        Raises FailedPreconditionError with the end of its log where it ends before, or takes too long; it is gone then.
        """
        reader, write_end = await _open_pipe()
        try:
            self._process = await self._spawn(arguments, write_end)
        finally:
            os.close(write_end)
        try:
            line = await asyncio.wait_for(reader.readline(), self._start_timeout_s)
        except TimeoutError:
            await self.kill()
            raise self._failure(f"was not ready after {self._start_timeout_s:g} s") from None
        if not line:
            raise self._failure(f"ended with status {await self.wait()} before it was ready")
        facts: dict[str, Any] = json.loads(line)
        return facts

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        return await self._process.wait() if self._process else 0

    async def stop(self, grace_s: float) -> None:
        """SIGTERM; after `grace_s` seconds SIGKILL, for what it started as well. Returns when it is gone."""
        if self._process is None or self.pid is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL, for it and all that it started."""
        if self.pid is not None:
            kill_tree(self.pid)
            await self.wait()

    def last_words(self, lines: int = 1) -> str:
        """The last lines that it has logged since its last start."""
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, self._log.stat().st_size - _TAIL_BYTES))
            text = log.read().decode(errors="replace").strip()
        return "\n".join(text.splitlines()[-lines:])

    async def _spawn(self, arguments: list[str], ready_fd: int) -> asyncio.subprocess.Process:
        descriptors = ["--ready-fd", str(ready_fd), "--parent-fd", str(self._parent_fd)]
        rotate(self._log)
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", self._module, *arguments, *descriptors),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(ready_fd, self._parent_fd),
                process_group=0,
                env={**os.environ, _MARKER: str(self._data.resolve())},
            )

    def _failure(self, what: str) -> FailedPreconditionError:
        return FailedPreconditionError(f"the {self.name} {what}. The end of {self._log}:\n{self.last_words(12)}")


def rotate(log: Path) -> None:
    """Puts a large log aside as LOG.1, in place of the one before it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _ROTATE_BYTES:
            log.replace(log.with_name(log.name + ".1"))


def kill_tree(pid: int) -> None:
    """SIGKILL for a process and all below it, those in sessions of their own as well."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def kill_descendants(data: Path) -> None:
    """SIGKILL for all that yards of this data folder have started, what was detached from its starter as well."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARKER) == str(data.resolve()) and process.pid != os.getpid():
                process.kill()


async def _open_pipe() -> tuple[asyncio.StreamReader, int]:
    read_end, write_end = os.pipe()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read_end, "rb", 0))
    return reader, write_end
