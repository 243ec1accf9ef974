"""What a yard tells of its models."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class TensorMetadata:
    """One input or output. `datatype` is KServe v2's ("FP32", "BYTES"); -1 in `shape`: this dimension varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelMetadata:
    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]

    @classmethod
    def from_proto(cls, message: Any) -> Self:
        return cls(
            message.name,
            tuple(message.versions),
            message.platform,
            tuple(_tensor(spec) for spec in message.inputs),
            tuple(_tensor(spec) for spec in message.outputs),
        )

    @property
    def input_datatypes(self) -> dict[str, str]:
        return {spec.name: spec.datatype for spec in self.inputs}


@dataclass(frozen=True)
class ModelState:
    """One version that the yard serves, or is about to; `reason` tells why it is not ready."""

    name: str
    version: str
    state: str
    reason: str

    @classmethod
    def from_proto(cls, message: Any) -> Self:
        return cls(message.name, message.version, message.state, message.reason)


def _tensor(spec: Any) -> TensorMetadata:
    return TensorMetadata(spec.name, spec.datatype, tuple(spec.shape))
