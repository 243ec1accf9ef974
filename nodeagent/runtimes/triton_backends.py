"""Which of Triton's backends serves a format, and what it wants to be told. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nodeagent.replica_spec import ReplicaSpec
from nodeagent.runtimes.base import Launch
from nodeagent.runtimes.builtin import signature_flags
from nodeagent.runtimes.triton_install import TritonInstall

Parameters = Callable[[Launch], Mapping[str, str]]

# What goes through the Python backend as numbers of a kind that numpy lacks, or not at all under numpy 2.
_NOT_IN_PYTHON = ("BYTES", "BF16")


@dataclass(frozen=True)
class Backend:
    """`model_file`: what the model is called in its version's folder; "": the backend is told where it is.

    `reads_signature`: what was not registered it reads off the model itself.
    """

    name: str
    model_file: str
    parameters: Parameters
    on_cpu: bool = True
    on_gpu: bool = True
    platform: str = ""
    reads_signature: bool = False


def _onnxruntime(launch: Launch) -> Mapping[str, str]:
    # As the built-in server has them: the agent has chosen how many cores there are.
    return {"intra_op_thread_count": str(launch.spec.threads), "inter_op_thread_count": "1", "execution_mode": "0"}


def _tensorflow(launch: Launch) -> Mapping[str, str]:
    return {
        "TF_NUM_INTRA_THREADS": str(launch.spec.threads),
        "TF_NUM_INTER_THREADS": "1",
        "TF_USE_PER_SESSION_THREADS": "1",
    }


def _python(launch: Launch) -> Mapping[str, str]:
    """The flags of the built-in server, whose sessions the model code uses."""
    spec = launch.spec
    options: dict[str, object] = {
        "model": spec.model,
        "version": spec.version,
        "file": launch.file,
        "threads": spec.threads,
        "max-batch-rows": max(1, spec.max_batch_rows),
    }
    if launch.sample:
        options["sample"] = launch.sample
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return {"model_server_flags": json.dumps([*flags, *signature_flags(spec)])}


def _nothing(_launch: Launch) -> Mapping[str, str]:
    return {}


_PYTHON = Backend("python", "", _python, on_gpu=False)
# Of each format, the best first.
BACKENDS: Mapping[str, tuple[Backend, ...]] = {
    "MODEL_FORMAT_ONNX": (Backend("onnxruntime", "model.onnx", _onnxruntime), _PYTHON),
    "MODEL_FORMAT_SAVEDMODEL": (
        Backend("tensorflow", "model.savedmodel", _tensorflow, platform="tensorflow_savedmodel"),
        _PYTHON,
    ),
    "MODEL_FORMAT_TENSORRT": (
        Backend("tensorrt", "model.plan", _nothing, on_cpu=False, platform="tensorrt_plan", reads_signature=True),
    ),
}


def list_formats(install: TritonInstall, *, on_gpu: bool) -> frozenset[str]:
    """Those that it can serve on a GPU, or else on CPUs."""
    return frozenset(
        name
        for name, backends in BACKENDS.items()
        if any(not _why_unfit(backend, install, on_gpu=on_gpu) for backend in backends)
    )


def choose_backend(install: TritonInstall, spec: ReplicaSpec) -> tuple[Backend | None, str]:
    """The first that can serve it on its allocation; or why none can, as a sentence."""
    reasons = []
    for backend in BACKENDS.get(spec.format, ()):
        reason = _why_unfit(backend, install, on_gpu=bool(spec.gpu)) or _why_wrong_tensors(backend, spec)
        if not reason:
            return backend, ""
        reasons.append(reason)
    return None, "; ".join(reasons) or f"it serves no {spec.format.removeprefix('MODEL_FORMAT_')}"


def knows_signature(spec: ReplicaSpec) -> bool:
    """What a plan takes and gives only the GPU that it is made for can tell."""
    return bool(spec.inputs and spec.outputs)


def _why_unfit(backend: Backend, install: TritonInstall, *, on_gpu: bool) -> str:
    if install.problem:
        return install.problem
    if backend.name not in install.backends:
        return f"this Triton has no {backend.name} backend"
    if not (backend.on_gpu if on_gpu else backend.on_cpu):
        return f"its {backend.name} backend computes on {'CPUs' if on_gpu else 'GPUs'} only here"
    if on_gpu and backend.name not in install.backends_on_gpu:
        return f"its {backend.name} backend is built without CUDA"
    return install.python_problem if backend.name == "python" else ""


def _why_wrong_tensors(backend: Backend, spec: ReplicaSpec) -> str:
    if not knows_signature(spec) and not backend.reads_signature:
        return "the model's inputs and outputs are not known, which Triton has to be told: register it again"
    if backend.name != "python":
        return ""
    wrong = [tensor for tensor in (*spec.inputs, *spec.outputs) if tensor.datatype in _NOT_IN_PYTHON]
    return f"{wrong[0].name!r} is {wrong[0].datatype}, which its Python backend cannot carry" if wrong else ""
