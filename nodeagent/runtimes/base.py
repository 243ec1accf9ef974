"""A runtime knows how to start one kind of model server. Adding one is one file here and its line in `main`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from modelyard.errors import FailedPreconditionError
from nodeagent.replica_spec import ReplicaSpec


@dataclass(frozen=True)
class RuntimeOffer:
    """What a runtime can serve with what is installed here; formats as the enum names them: "MODEL_FORMAT_ONNX"."""

    version: str = ""
    cpu_formats: frozenset[str] = frozenset()
    gpu_formats: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Launch:
    """One start of a replica, as its runtime is told of it.

    `file`: the model's, or the folder of a packed one; it is shared and read only. `folder`: the replica's own, where
    the runtime may write. `host`: the IP address to listen on. `sample`: an .npz file of inputs.
    """

    spec: ReplicaSpec
    file: Path
    folder: Path
    host: str
    sample: Path | None = None


@dataclass(frozen=True)
class ServerPlan:
    """How to start a server.

    `command` is given a file descriptor. Where `port` is 0 the server picks its port, and writes one JSON line with
    `port` there when ready; it may add `metrics_port`, and `began`, `loaded` and `warm`, when it got that far in
    seconds of the monotonic clock. Else it listens on `port`, and is asked whether it is ready.

    `knows_probes`: what has the canary's token for its id is left out of its statistics. It takes scalars as scalars.
    `spare_library`: a process of nodeagent.modelserver that has imported it can go on as this server; "": none can.
    """

    command: Callable[[int], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    metrics_port: int = 0
    knows_probes: bool = True
    spare_library: str = ""


class Runtime(Protocol):
    """Stateless. Its servers speak KServe v2, finish what they began on SIGTERM, and log to standard error."""

    @property
    def name(self) -> str:
        """What people call it."""

    def offer(self) -> RuntimeOffer:
        """What it can serve here."""

    def why_not(self, spec: ReplicaSpec) -> str:
        """Why it cannot serve this version on this allocation here, as a sentence; "" where it can."""

    def plan(self, launch: Launch) -> ServerPlan:
        """Writes the files that its server needs. Blocking. Raises YardError and OSError."""

    def explain_exit(self, code: int, log_tail: str) -> str:
        """What made its server end, in a sentence, where its exit code or the end of its log tells that; else ""."""


def choose_runtime(runtimes: Sequence[Runtime], spec: ReplicaSpec) -> Runtime:
    """The first that can serve it, or the one asked for. Raises FailedPreconditionError with each one's reason."""
    reasons = []
    for runtime in runtimes:
        reason = runtime.why_not(spec) if spec.runtime in ("", runtime.name) else f"{spec.runtime} was asked for"
        if not reason:
            return runtime
        reasons.append(f"{runtime.name}: {reason}")
    raise FailedPreconditionError(f"nothing on this node can serve {spec.model_id}: {'; '.join(reasons)}")
