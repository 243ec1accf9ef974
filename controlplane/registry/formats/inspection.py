"""Runs `controlplane.registry.formats.inspect_model` for a file that somebody sent, within limits."""

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from controlplane.domain import ModelFormat, Packaging
from controlplane.registry.formats.inspect_model import SAMPLE_FILE, Request
from controlplane.registry.formats.inspected import Inspected
from controlplane.registry.formats.tensorrt_plan import check_gpu
from controlplane.registry.signature_json import details_from_json, signature_from_json
from modelyard.errors import InternalError, InvalidArgumentError, ResourceExhaustedError, UnavailableError

log = logging.getLogger(__name__)

# What the kernel or the allocator ends a process with that asks for too much, or that trips over its input.
_FATAL = {signal.SIGXCPU, signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
# What unpacking takes at the least, with the slowest of the kinds, on a busy host.
_UNPACKED_BYTES_A_SECOND = 16 << 20


class ModelInspector:
    """At most `concurrency` processes at once, each with `timeout_s` seconds, `cpu_s` of them on a processor.

    Large files have more of both: a second for each 16 MiB, since archives are unpacked and packed again.
    `memory_bytes`: address space of the process beside the file. Imports take 0.6 GB of it, a model's weights none.
    `max_unpacked_bytes`: what an archive may unpack to.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 120.0,
        cpu_s: int = 60,
        memory_bytes: int = 4 << 30,
        max_unpacked_bytes: int = 2 << 30,
        concurrency: int = 2,
    ) -> None:
        self._timeout_s = timeout_s
        self._cpu_s = cpu_s
        self._memory_bytes = memory_bytes
        self._max_unpacked_bytes = max_unpacked_bytes
        self._slots = asyncio.Semaphore(concurrency)

    async def inspect(self, path: Path, *, workspace: Path, gpu: str = "", sample: bytes = b"") -> Inspected:
        """What the file is, and what is to be kept of it.

        `workspace`: a new and empty folder, for what is unpacked; the caller removes it, whatever came of this.
        `gpu`: which one a TensorRT plan was built for. `sample`: one set of inputs as an .npz file; b"": it is made.
        What is announced is limited before it comes here (controlplane.registry.announcement).

        InvalidArgumentError that says what is wrong with the file, or the sample; ResourceExhaustedError where the disk
        is full; UnavailableError where there was no time.
        """
        extra_s = await asyncio.to_thread(_size_bytes, path) // _UNPACKED_BYTES_A_SECOND
        request = Request(
            path=str(path),
            workspace=str(workspace),
            gpu=check_gpu(gpu),
            max_unpacked_bytes=self._max_unpacked_bytes,
            memory_bytes=self._memory_bytes,
            cpu_s=self._cpu_s + extra_s,
        )
        async with self._slots:
            status, output, errors = await self._run(request, sample, self._timeout_s + extra_s)
        if status == 0:
            return await asyncio.to_thread(_parse_answer, json.loads(output), workspace)
        if -status in _FATAL:
            raise InvalidArgumentError(
                "the file broke the process that looked at it, or took too much processor time; export the model again"
            )
        log.error("inspecting a model failed", extra={"status": status, "stderr": errors.decode(errors="replace")})
        raise InternalError("the model could not be looked at; the controller's log has the details")

    async def _run(self, request: Request, sample: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working folder may be anybody's: nothing is imported from it
            "-m",
            "controlplane.registry.formats.inspect_model",
            request.to_json(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(sample), timeout_s)
        except TimeoutError as error:
            raise UnavailableError(
                f"looking at the model took more than {timeout_s:g} s; try again when the host is less busy"
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output, errors


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _parse_answer(answer: dict[str, Any], workspace: Path) -> Inspected:
    if "refused" in answer:
        raise InvalidArgumentError(answer["refused"])
    if "no_room" in answer:
        raise ResourceExhaustedError(answer["no_room"])
    format_ = ModelFormat(answer["format"])
    return Inspected(
        format=format_,
        packaging=Packaging(answer["packaging"]),
        signature=signature_from_json(answer["signature"]),
        details=details_from_json(format_, answer["details"]),
        file=Path(answer["file"]),
        sample=(workspace / SAMPLE_FILE).read_bytes() if answer["has_sample"] else None,
    )
