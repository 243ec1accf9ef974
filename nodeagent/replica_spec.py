"""What the controller wants of one replica, as the agent keeps it: no more than what running it takes."""

import re
from dataclasses import dataclass
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.v1 import agent_pb2, resources_pb2

# An id becomes the name of a folder, a checksum that of a file: neither may lead out of its place.
_REPLICA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,249}")
_FILE, _TAR = "PACKAGING_FILE", "PACKAGING_TAR"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class TensorSpec:
    name: str
    datatype: str  # KServe v2
    shape: tuple[int, ...]  # -1: varies


@dataclass(frozen=True)
class ReplicaSpec:
    """All of it is fixed for the life of a replica: a change of anything here makes another replica of it."""

    replica_id: str
    model: str
    version: int
    format: str  # as the enum names it: "MODEL_FORMAT_ONNX"
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    cores: tuple[int, ...]  # empty: not pinned
    threads: int
    memory_bytes: int
    # What follows has defaults for the records that earlier agents have left.
    packaging: str = _FILE  # as the enum names it
    # The keys of a SavedModel's served signature; of other formats none.
    output_names: tuple[str, ...] = ()

    @property
    def is_packed(self) -> bool:
        """Whether its file is a folder's."""
        return self.packaging == _TAR

    @property
    def model_id(self) -> str:
        return f"{self.model}@{self.version}"


def parse_spec(desired: agent_pb2.DesiredReplica) -> ReplicaSpec:
    """Raises InvalidArgumentError for an id or a checksum that could not name a file, and for an unknown format."""
    version, allocation = desired.version, desired.allocation
    if not _REPLICA_ID.fullmatch(desired.replica_id):
        raise InvalidArgumentError(f"{desired.replica_id[:200]!r} cannot be the id of a replica")
    if not _SHA256.fullmatch(version.sha256):
        raise InvalidArgumentError(f"{version.sha256[:80]!r} of {desired.replica_id} is not a SHA-256 in hexadecimal")
    format_name = _enum_name(resources_pb2.ModelFormat, version.format, desired.replica_id)
    packaging = _enum_name(
        resources_pb2.Packaging, version.packaging or resources_pb2.PACKAGING_FILE, desired.replica_id
    )
    outputs = version.signature.outputs if version.format == resources_pb2.MODEL_FORMAT_SAVEDMODEL else ()
    return ReplicaSpec(
        replica_id=desired.replica_id,
        model=version.model,
        version=version.number,
        format=format_name,
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        inputs=tuple(TensorSpec(t.name, t.datatype, tuple(t.shape)) for t in version.signature.inputs),
        cores=tuple(sorted(allocation.cores)),
        threads=max(1, allocation.threads),
        memory_bytes=allocation.memory_bytes,
        packaging=packaging,
        output_names=tuple(tensor.name for tensor in outputs),
    )


def _enum_name(enum: Any, value: int, replica_id: str) -> str:
    if value not in enum.values():
        raise InvalidArgumentError(
            f"{replica_id} has a {enum.DESCRIPTOR.name} that this agent does not know ({value}): "
            "install the same release here as on the controller"
        )
    return str(enum.Name(value))
