"""The yard's own model server: ONNX on onnxruntime."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nodeagent.devices.cpu import thread_environment
from nodeagent.replica_spec import ReplicaSpec


@dataclass(frozen=True)
class BuiltinRuntime:
    max_message_bytes: int
    max_typed_bytes: int
    max_string_elements: int
    max_batch_size: int
    max_concurrent_requests: int
    drain_timeout_s: float
    name: str = "built-in"

    def why_not(self, spec: ReplicaSpec) -> str:
        if spec.format != "MODEL_FORMAT_ONNX":
            return f"it serves ONNX files, not {spec.format.removeprefix('MODEL_FORMAT_')}"
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed here; install this project with its extra `agent`"
        return ""

    def command(self, spec: ReplicaSpec, file: Path, host: str, ready_fd: int) -> list[str]:
        options = {
            "model": spec.model,
            "version": spec.version,
            "file": file,
            "host": host,
            "port": 0,
            "threads": spec.threads,
            "max-message-bytes": self.max_message_bytes,
            "max-typed-bytes": self.max_typed_bytes,
            "max-string-elements": self.max_string_elements,
            "max-batch-size": self.max_batch_size,
            "max-concurrent-requests": self.max_concurrent_requests,
            "drain-timeout-s": self.drain_timeout_s,
            "ready-fd": ready_fd,
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        # -P: what lies in the working folder is not code to run.
        return [sys.executable, "-P", "-m", "nodeagent.modelserver", *flags]

    def environment(self, spec: ReplicaSpec) -> Mapping[str, str]:
        return thread_environment(spec.threads)
