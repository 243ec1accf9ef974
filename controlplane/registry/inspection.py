"""Runs `controlplane.registry.inspect_model` for a file that somebody sent, within limits."""

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from controlplane.domain import Signature
from controlplane.registry.signature_json import signature_from_json
from modelyard.errors import InternalError, InvalidArgumentError, UnavailableError

log = logging.getLogger(__name__)

# What the kernel or the allocator ends a process with that asks for too much, or that trips over its input.
_FATAL = {signal.SIGXCPU, signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}


class ModelInspector:
    """At most `concurrency` processes at once, each with `timeout_s` seconds, `cpu_s` of them on a processor.

    `memory_bytes`: address space of the process beside the file. Imports take 0.6 GB of it, a model's weights none.
    """

    def __init__(
        self, *, timeout_s: float = 120.0, cpu_s: int = 60, memory_bytes: int = 4 << 30, concurrency: int = 2
    ) -> None:
        self._timeout_s = timeout_s
        self._limits = (str(memory_bytes), str(cpu_s))
        self._slots = asyncio.Semaphore(concurrency)

    async def inspect(self, path: Path) -> Signature:
        """InvalidArgumentError that says what is wrong with the file; UnavailableError where there was no time."""
        async with self._slots:
            status, output, errors = await self._run(path)
        if status == 0:
            return _parse_answer(json.loads(output))
        if -status in _FATAL:
            raise InvalidArgumentError(
                "the file broke the process that looked at it, or took too much processor time; export the model again"
            )
        log.error("inspecting a model failed", extra={"status": status, "stderr": errors.decode(errors="replace")})
        raise InternalError("the model could not be looked at; the controller's log has the details")

    async def _run(self, path: Path) -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working folder may be anybody's: nothing is imported from it
            "-m",
            "controlplane.registry.inspect_model",
            str(path),
            *self._limits,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), self._timeout_s)
        except TimeoutError as error:
            raise UnavailableError(
                f"looking at the model took more than {self._timeout_s:g} s; try again when the host is less busy"
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output, errors


def _parse_answer(answer: dict[str, Any]) -> Signature:
    if "refused" in answer:
        raise InvalidArgumentError(answer["refused"])
    return signature_from_json(answer["signature"])
