"""Processes that outlive the one that started them: known again by pid and start time, never by pid alone."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessIdentity:
    """One process for good: the kernel gives a pid away again, but not with the same start time.

    `start_time` is in clock ticks since the host's start, as the kernel keeps it: no correction of the clock moves it.
    """

    pid: int
    start_time: float

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """Raises psutil.NoSuchProcess."""
        return cls(pid, _read_stat(pid)[1])

    def is_alive(self) -> bool:
        """False once it has ended, a zombie included."""
        try:
            state, start_time = _read_stat(self.pid)
            return start_time == self.start_time and state not in "ZX"
        except psutil.NoSuchProcess:
            return False

    def send_signal(self, number: signal.Signals) -> None:
        """Does nothing where the process is gone."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait_gone(self, timeout_s: float) -> bool:
        """True once it has ended; False after `timeout_s` seconds. Works for processes that are not our children."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while self.is_alive():
            if loop.time() >= end:
                return False
            await asyncio.sleep(0.02)
        return True

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s` seconds; returns when it is gone."""
        self.send_signal(signal.SIGTERM)
        if not await self.wait_gone(grace_s):
            self.send_signal(signal.SIGKILL)
            await self.wait_gone(5.0)


def _read_stat(pid: int) -> tuple[str, float]:
    """State and start time, fields 3 and 22 of proc(5)'s stat. Raises psutil.NoSuchProcess."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold anything
    return fields[0], float(fields[19])
