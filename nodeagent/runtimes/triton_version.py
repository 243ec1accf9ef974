"""Which release a Triton's program is: it is started for a moment, without a model and without a port."""

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress

_START_S = 30.0
# It serves nothing, and says in its log which release it is, unless it is too old for what a replica's is told.
_SAY_VERSION = (
    "--model-control-mode=explicit", "--allow-grpc=false", "--allow-http=false", "--allow-metrics=false",
    "--grpc-restricted-protocol=logging:modelyard=x",
)  # fmt: skip
_UNKNOWN_OPTION = re.compile(rb"unrecognized option '(--[\w-]+)")
_VERSION = re.compile(rb"server_version\s*\|\s*([^\s|]+)")


def read_version(program: str) -> tuple[str, str]:
    """Its release, and a problem where it does not start."""
    try:
        said = _ask_version(program)
    except OSError as error:  # of another kind of machine, or a script whose interpreter is not there
        return "", f"{program} does not start: {error.strerror}"
    if version := _VERSION.search(said):
        return version[1].decode(), ""
    if unknown := _UNKNOWN_OPTION.search(said):
        return "", f"{program} is too old: it does not know {unknown[1].decode()}; install Triton 2.51 or a later one"
    words = " ".join(said.decode(errors="replace").split())[-300:]
    return "", f"{program} does not start: {words or 'it says nothing'}"


def _ask_version(program: str) -> bytes:
    """What it said up to that. Raises OSError."""
    with tempfile.TemporaryDirectory() as empty:
        process = subprocess.Popen(
            [program, f"--model-repository={empty}", *_SAY_VERSION],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},  # its GPUs may be in use
            start_new_session=True,
        )
        try:
            return _read_until(process, _VERSION)
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With all that it started: it may be a script."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def _read_until(process: "subprocess.Popen[bytes]", pattern: re.Pattern[bytes]) -> bytes:
    assert process.stdout is not None
    said, end = b"", time.monotonic() + _START_S
    while (left_s := end - time.monotonic()) > 0 and not pattern.search(said):
        if not select.select([process.stdout], [], [], left_s)[0]:
            break
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            break
        said += piece
    return said
