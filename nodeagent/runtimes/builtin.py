"""The yard's own model server: ONNX on onnxruntime, TensorFlow SavedModels on OpenVINO."""

import importlib.util
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from modelyard.logs import strip_prefix
from nodeagent.devices.cpu import server_environment
from nodeagent.modelserver import exit_codes
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.runtimes.base import Launch, RuntimeOffer, ServerPlan
from nodeagent.runtimes.onnx_gpu import onnxruntime_folder, why_no_gpu

# -P: what lies in the working folder is not code to run.
SERVER = (sys.executable, "-P", "-m", "nodeagent.modelserver")

# What computes a format, as Python imports it.
_ONNX = "MODEL_FORMAT_ONNX"
_LIBRARIES = {_ONNX: "onnxruntime", "MODEL_FORMAT_SAVEDMODEL": "openvino"}


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
        on_gpu = frozenset() if why_no_gpu(onnxruntime_folder()) else formats & {_ONNX}
        return RuntimeOffer(version=version("modelyard"), cpu_formats=formats, gpu_formats=on_gpu)

    def why_not(self, spec: ReplicaSpec) -> str:
        library = _LIBRARIES.get(spec.format)
        if library is None:
            return f"it serves ONNX and SavedModels, not {spec.format.removeprefix('MODEL_FORMAT_')}"
        if not _is_installed(library):
            return f"{library} is not installed here; install this project with its extra `agent`"
        if spec.gpu and spec.format != _ONNX:
            return f"it computes {spec.format.removeprefix('MODEL_FORMAT_')} on the CPU only"
        return why_no_gpu(onnxruntime_folder()) if spec.gpu else ""

    def plan(self, launch: Launch) -> ServerPlan:
        environment = server_environment(launch.spec.threads)
        return ServerPlan(
            partial(self._command, launch), environment, spare_library=_LIBRARIES.get(launch.spec.format, "")
        )

    def explain_exit(self, code: int, log_tail: str) -> str:
        """Of the exit codes that say it all; where a model cannot be served, the last line of the log does."""
        if code == exit_codes.PORT:
            return "a port that it was to listen on was taken by another program meanwhile"
        if code == exit_codes.DEVICE:
            return _last_line(log_tail) if log_tail.strip() else "its GPU failed"
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
            "max-batch-rows": spec.max_batch_rows,
            "max-batch-wait-us": spec.max_batch_wait_us,
            "metrics-port": 0,
            "ready-fd": ready_fd,
        }
        if launch.sample:
            options["sample"] = launch.sample
        if spec.gpu:
            options |= {"device": "cuda", "gpu-memory-bytes": spec.gpu.memory_bytes}
        flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [*SERVER, *flags, *signature_flags(spec)]


def signature_flags(spec: ReplicaSpec) -> list[str]:
    if not spec.output_names:
        return []
    # With "=": a key may begin with a dash.
    return [*(f"--input={tensor.name}" for tensor in spec.inputs), *(f"--output={name}" for name in spec.output_names)]


def _last_line(log_tail: str) -> str:
    return strip_prefix(log_tail.strip().splitlines()[-1])


def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
