"""The hosts, as their agents describe them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from controlplane.domain.models import Author, ModelFormat
from controlplane.domain.replicas import ReplicaState


@dataclass(frozen=True)
class StartTimes:
    """How long each part of a replica's last start took, in seconds."""

    fetch_s: float = 0.0
    start_s: float = 0.0  # until the server's own code ran
    load_s: float = 0.0
    warm_up_s: float = 0.0
    probe_s: float = 0.0  # from there until it answered the agent's canary


@dataclass(frozen=True)
class ObservedReplica:
    """What a node says of a replica."""

    replica_id: str
    state: ReplicaState
    port: int = 0
    restarts: int = 0
    message: str = ""
    runtime: str = ""
    memory_used_bytes: int = 0
    metrics_port: int = 0
    start_times: StartTimes | None = None


@dataclass(frozen=True)
class Core:
    """Where a core is. Cores of one `physical_core` are its SMT siblings."""

    number: int
    socket: int
    numa_node: int
    physical_core: int


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG device of one, as its node's driver describes it."""

    uuid: str
    hardware_class: str
    memory_bytes: int
    compute_capability: str = ""
    parent_uuid: str = ""  # of a MIG device: the GPU that it is a part of
    pci_bus_id: str = ""
    shares: tuple[int, ...] = (100,)  # in which it is given away, in percent, the largest first
    whole_because: str = ""  # why it is given away whole only; "": it is not


@dataclass(frozen=True)
class GpuCondition:
    """How a GPU is now."""

    uuid: str
    fault: str = ""  # why it takes no replicas, in a sentence
    utilization_percent: int = 0
    memory_used_bytes: int = 0
    processes: int = 0


@dataclass(frozen=True)
class RuntimeOffer:
    """What one runtime of a node can serve."""

    name: str
    version: str = ""
    cpu_formats: frozenset[ModelFormat] = frozenset()
    gpu_formats: frozenset[ModelFormat] = frozenset()


class Schedulability(StrEnum):
    """Whether a node takes replicas."""

    OPEN = "open"
    CORDONED = "cordoned"  # it takes no new ones
    DRAINING = "draining"  # nor does it keep those that it has, once there are others in their place


@dataclass(frozen=True)
class NodeScheduling:
    """What a person decided of a node: it is kept in the database, unlike what agents say."""

    node: str
    state: Schedulability
    author: Author


@dataclass(frozen=True)
class Node:
    """A host, as its agent described it last."""

    name: str
    address: str
    cores: tuple[int, ...]
    memory_bytes: int
    replicas_per_core: int = 1
    hardware_class: str = ""
    connected: bool = True
    last_seen: datetime | None = None
    observed: Mapping[str, ObservedReplica] = field(default_factory=dict)
    observed_generation: int = 0
    # The newest desired set made for it, and the replica-ids in that; 0: none since the controller started.
    desired_generation: int = 0
    desired: frozenset[str] = frozenset()
    # What can serve here.
    runtimes: tuple[RuntimeOffer, ...] = (RuntimeOffer("built-in", cpu_formats=frozenset({ModelFormat.ONNX})),)
    # False: its agent is of a release that knows no Packaging.TAR.
    takes_folders: bool = True
    # Of `cores`, as far as it tells.
    topology: tuple[Core, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    gpu_message: str = ""  # why there is none, or why not all are offered
    driver_version: str = ""
    gpu_conditions: Mapping[str, GpuCondition] = field(default_factory=dict)
    release: str = ""  # of its agent; "": an earlier one, which sends no logs

    @property
    def formats(self) -> frozenset[ModelFormat]:
        """What it can serve on the CPU."""
        return frozenset().union(*(offer.cpu_formats for offer in self.runtimes))
