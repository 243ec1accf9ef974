"""The model server's flags. argparse, because pydantic would double the time a replica takes to start."""

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from modelyard.errors import InvalidArgumentError
from modelyard.logs import LogFormat
from modelyard.resource_names import check_model_name
from nodeagent.modelserver.canary_token import CANARY_TOKEN_VARIABLE

_MAX_GRPC_BYTES = 2**31 - 1  # gRPC keeps message sizes in a signed 32-bit number


@dataclass(frozen=True)
class ServerSettings:
    """One model, and how it is served."""

    program: ClassVar[str] = "modelserver"
    parent_fd: ClassVar[int | None] = None  # a model server outlives its starter

    model: str
    version: int
    file: Path
    host: str
    port: int
    threads: int
    device: str
    gpu_memory_bytes: int
    sample: Path | None
    max_batch_rows: int
    max_batch_wait_us: int
    metrics_port: int | None
    max_message_bytes: int
    max_typed_bytes: int
    max_string_elements: int
    max_batch_size: int
    max_concurrent_requests: int
    drain_timeout_s: float
    ready_fd: int | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    log_level: str
    log_format: LogFormat
    canary_token: str = field(repr=False)  # from the environment: flags are there for everybody to see

    @classmethod
    def load(cls, arguments: list[str]) -> "ServerSettings":
        """Settings from the command line; leaves the process with status 2 and a sentence where a flag is wrong."""
        flags = vars(_parser().parse_args(arguments))
        flags |= {name: tuple(flags[name]) for name in ("inputs", "outputs")}
        return cls(**flags, canary_token=os.environ.get(CANARY_TOKEN_VARIABLE, ""))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nodeagent.modelserver", description="Serves one model.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--model", type=_model_name, required=True, help="the model's name")
    add("--version", type=_whole_number, required=True, help="its version")
    add(
        "--file",
        type=Path,
        required=True,
        help="its ONNX file, or its folder: a SavedModel, or ONNX with external data",
    )
    add("--input", dest="inputs", action="append", default=[], help="an input of a SavedModel's served signature")
    add("--output", dest="outputs", action="append", default=[], help="an output of it; none: what OpenVINO finds")
    add("--host", default="127.0.0.1", help="IP address to listen on")
    add("--port", type=_port, default=0, help="0: any free port, told on --ready-fd")
    add("--threads", type=_whole_number, default=1, help="threads of one inference")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: ONNX on the GPU that this process sees first")
    add("--gpu-memory-bytes", type=_count, default=0, help="most that onnxruntime takes of the GPU; 0: no limit")
    add("--sample", type=Path, help="inputs to warm up with, an .npz file; none: zeros")
    add("--max-batch-rows", type=_count, default=0, help="of requests merged into one; 0: as many as help, 1: never")
    add("--max-batch-wait-us", type=_count, default=0, help="longest wait for others to merge with")
    add("--metrics-port", type=_port, help="for Prometheus; 0: any free port, told on --ready-fd; none: no metrics")
    add("--max-message-bytes", type=_message_bytes, default=256 << 20, help="largest request or answer")
    add("--max-typed-bytes", type=_message_bytes, default=8 << 20, help="of a request, what is no raw_input_contents")
    add("--max-string-elements", type=_whole_number, default=1 << 20, help="strings (BYTES) of a request or an answer")
    add("--max-batch-size", type=_whole_number, default=1 << 16, help="rows of a request, for models that take batches")
    add("--max-concurrent-requests", type=_whole_number, default=128, help="running and waiting; more are refused")
    add("--drain-timeout-s", type=_seconds, default=30.0, help="longest time from SIGTERM to the end")
    add("--ready-fd", type=int, help="file descriptor that gets one JSON line when the model is served")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    add("--log-format", choices=("text", "json"), default="text")
    return parser


def _model_name(text: str) -> str:
    try:
        return check_model_name(text)
    except InvalidArgumentError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not int(text) < 2**53:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: wanted 0 to 65535")
    return int(text)


def _message_bytes(text: str) -> int:
    number = _whole_number(text)
    if number > _MAX_GRPC_BYTES:
        raise argparse.ArgumentTypeError(f"{text} is more than gRPC can carry in one message, {_MAX_GRPC_BYTES}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
