"""What the controller wants of one replica, as the agent keeps it: no more than what running it takes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from modelyard.errors import InvalidArgumentError
from modelyard.v1 import agent_pb2, resources_pb2

# An id becomes the name of a folder, a checksum that of a file: neither may lead out of its place.
_REPLICA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,249}")
_FILE, _TAR = "PACKAGING_FILE", "PACKAGING_TAR"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# It goes into the environment of processes and the names of folders.
_GPU_UUID = re.compile(r"(GPU|MIG)-[A-Za-z0-9/-]{1,150}")


@dataclass(frozen=True)
class TensorSpec:
    name: str
    datatype: str  # KServe v2
    shape: tuple[int, ...]  # -1: varies


@dataclass(frozen=True)
class GpuShare:
    """A part of one GPU, or of one MIG device."""

    uuid: str
    percent: int  # of its multiprocessors; 100: all of it, shared with nobody
    memory_bytes: int


@dataclass(frozen=True)
class Sample:
    """A file of inputs, an .npz with an array for each."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ReplicaSpec:
    """All of it is fixed for the life of a replica: a change of anything here makes another replica of it.

    What is not compared follows from the rest, and is not in the records that earlier agents have left.
    """

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
    outputs: tuple[TensorSpec, ...] = field(default=(), compare=False)
    sample: Sample | None = field(default=None, compare=False)
    is_memory_estimated: bool = field(default=True, compare=False)  # earlier releases held nobody to it
    gpu: GpuShare | None = None
    runtime: str = ""  # the one that was asked for; "": the first that can
    max_batch_rows: int = 0  # 0: as many as are measured to help, 1: requests are never merged
    max_batch_wait_us: int = 0

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
    _check_sha256(version.sha256, desired.replica_id)
    format_name = _enum_name(resources_pb2.ModelFormat, version.format, desired.replica_id)
    packaging = _enum_name(
        resources_pb2.Packaging, version.packaging or resources_pb2.PACKAGING_FILE, desired.replica_id
    )
    savedmodel = version.format == resources_pb2.MODEL_FORMAT_SAVEDMODEL
    outputs = _tensors(version.signature.outputs)
    return ReplicaSpec(
        replica_id=desired.replica_id,
        model=version.model,
        version=version.number,
        format=format_name,
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        inputs=_tensors(version.signature.inputs),
        cores=tuple(sorted(allocation.cores)),
        threads=max(1, allocation.threads),
        memory_bytes=allocation.memory_bytes,
        packaging=packaging,
        output_names=tuple(tensor.name for tensor in outputs) if savedmodel else (),
        outputs=outputs,
        sample=_sample(version.sample, desired.replica_id) if version.HasField("sample") else None,
        is_memory_estimated=allocation.is_memory_estimated or not allocation.HasField("is_memory_estimated"),
        gpu=_gpu_share(allocation.gpu, desired.replica_id) if allocation.HasField("gpu") else None,
        runtime=desired.serving.runtime,
        max_batch_rows=max(0, desired.serving.max_batch_rows),
        max_batch_wait_us=max(0, desired.serving.max_batch_wait_us),
    )


def _tensors(tensors: Iterable[resources_pb2.TensorSpec]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in tensors)


def _sample(sample: resources_pb2.Sample, replica_id: str) -> Sample:
    return Sample(_check_sha256(sample.sha256, replica_id), sample.size_bytes)


def _gpu_share(share: resources_pb2.GpuShare, replica_id: str) -> GpuShare:
    if not _GPU_UUID.fullmatch(share.uuid) or not 0 < share.percent <= 100 or share.memory_bytes < 0:
        raise InvalidArgumentError(
            f"{replica_id} is to have {share.percent}% and {share.memory_bytes} bytes of GPU {share.uuid[:100]!r},"
            " which cannot be"
        )
    return GpuShare(share.uuid, share.percent, share.memory_bytes)


def _check_sha256(sha256: str, replica_id: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise InvalidArgumentError(f"{sha256[:80]!r} of {replica_id} is not a SHA-256 in hexadecimal")
    return sha256


def _enum_name(enum: Any, value: int, replica_id: str) -> str:
    if value not in enum.values():
        raise InvalidArgumentError(
            f"{replica_id} has a {enum.DESCRIPTOR.name} that this agent does not know ({value}): "
            "install the same release here as on the controller"
        )
    return str(enum.Name(value))
