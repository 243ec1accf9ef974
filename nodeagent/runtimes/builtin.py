"""The yard's own model server: ONNX on onnxruntime, TensorFlow SavedModels on OpenVINO."""

import importlib.util
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from nodeagent.devices.cpu import thread_environment
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.runtimes.base import Launch, RuntimeOffer, ServerPlan

# What computes a format, as Python imports it.
_LIBRARIES = {"MODEL_FORMAT_ONNX": "onnxruntime", "MODEL_FORMAT_SAVEDMODEL": "openvino"}


@dataclass(frozen=True)
class BuiltinRuntime:
    max_message_bytes: int
    max_typed_bytes: int
    max_string_elements: int
    max_batch_size: int
    max_concurrent_requests: int
    drain_timeout_s: float
    name: str = "built-in"

    def offer(self) -> RuntimeOffer:
        formats = frozenset(name for name, library in _LIBRARIES.items() if _is_installed(library))
        return RuntimeOffer(version=version("modelyard"), cpu_formats=formats)

    def why_not(self, spec: ReplicaSpec) -> str:
        library = _LIBRARIES.get(spec.format)
        if library is None:
            return f"it serves ONNX and SavedModels, not {spec.format.removeprefix('MODEL_FORMAT_')}"
        if not _is_installed(library):
            return f"{library} is not installed here; install this project with its extra `agent`"
        if spec.gpu:
            return "it computes on the CPU only"
        return ""

    def plan(self, launch: Launch) -> ServerPlan:
        return ServerPlan(partial(self._command, launch), thread_environment(launch.spec.threads))

    def explain_exit(self, code: int, log_tail: str) -> str:
        return ""

    def _command(self, launch: Launch, ready_fd: int) -> list[str]:
        spec = launch.spec
        options = {
            "model": spec.model,
            "version": spec.version,
            "file": launch.file,
            "host": launch.host,
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
        return [sys.executable, "-P", "-m", "nodeagent.modelserver", *flags, *_signature_flags(spec)]


def _signature_flags(spec: ReplicaSpec) -> list[str]:
    if not spec.output_names:
        return []
    # With "=": a key may begin with a dash.
    return [*(f"--input={tensor.name}" for tensor in spec.inputs), *(f"--output={name}" for name in spec.output_names)]


def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
