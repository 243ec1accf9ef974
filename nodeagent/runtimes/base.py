"""A runtime knows how to start one kind of model server. Adding one is one file here and its line in `main`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from modelyard.errors import FailedPreconditionError
from nodeagent.replica_spec import ReplicaSpec


class Runtime(Protocol):
    """Stateless. Its servers speak KServe v2, finish what they began on SIGTERM, and log to standard error."""

    @property
    def name(self) -> str:
        """What people call it."""

    def formats(self) -> frozenset[str]:
        """What it can serve with what is installed here, as the enum names it: "MODEL_FORMAT_ONNX"."""

    def why_not(self, spec: ReplicaSpec) -> str:
        """Why it cannot serve this version on this allocation here, as a sentence; "" where it can."""

    def command(self, spec: ReplicaSpec, file: Path, host: str, ready_fd: int) -> list[str]:
        """The server's arguments. `file`: the model's, or the folder of a packed one.

        The server picks its port, and writes one JSON line with `port` to `ready_fd` when ready.
        """

    def environment(self, spec: ReplicaSpec) -> Mapping[str, str]:
        """What it needs beside the agent's own environment."""


def choose_runtime(runtimes: Sequence[Runtime], spec: ReplicaSpec) -> Runtime:
    """The first that can serve it. Raises FailedPreconditionError with each one's reason."""
    reasons = []
    for runtime in runtimes:
        reason = runtime.why_not(spec)
        if not reason:
            return runtime
        reasons.append(f"{runtime.name}: {reason}")
    raise FailedPreconditionError(f"nothing on this node can serve {spec.model_id}: {'; '.join(reasons)}")
