"""What is left of a node beside every replica that is not gone yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.domain import Gpu, GpuShare, Node, NodeScheduling, Replica, Schedulability


@dataclass(frozen=True)
class GpuRoom:
    """What is left of one GPU."""

    gpu: Gpu
    used_percent: int = 0
    used_bytes: int = 0
    fault: str = ""

    @property
    def free_percent(self) -> int:
        return max(0, 100 - self.used_percent)

    @property
    def free_bytes(self) -> int:
        return max(0, self.gpu.memory_bytes - self.used_bytes)


@dataclass(frozen=True)
class Room:
    node: Node
    # Replicas pinned to each of the node's cores.
    used_slots: Mapping[int, int]
    reserved_bytes: int
    gpus: Mapping[str, GpuRoom] = field(default_factory=dict)
    # None: it is open.
    scheduling: NodeScheduling | None = None

    @property
    def is_drained(self) -> bool:
        return self.scheduling is not None and self.scheduling.state is Schedulability.DRAINING

    @property
    def free_cores(self) -> int:
        """How many cores can take one more replica."""
        return sum(used < self.node.replicas_per_core for used in self.used_slots.values())

    @property
    def free_core_slots(self) -> int:
        return sum(max(0, self.node.replicas_per_core - used) for used in self.used_slots.values())

    @property
    def free_bytes(self) -> int:
        return max(0, self.node.memory_bytes - self.reserved_bytes)


@dataclass(frozen=True)
class Handover:
    """A replica whose place is looked for anew: its cores and its share of a GPU count as free.

    Its memory on the host does not. Its GPU's does where nobody stated it, of this one or of who comes: then it is the
    most that they may take, and not what they need.
    """

    replica_id: str = ""  # "": none
    wants_stated_gpu_memory: bool = False


NO_HANDOVER = Handover()


def compute_room(
    node: Node,
    replicas: Sequence[Replica],
    handover: Handover = NO_HANDOVER,
    scheduling: NodeScheduling | None = None,
) -> Room:
    """What `replicas`, all on `node`, leave of it. A successor counts for what it has more than whom it takes over."""
    used = dict.fromkeys(node.cores, 0)
    by_id = {replica.replica_id: replica for replica in replicas}
    for replica in replicas:
        predecessor = by_id.get(replica.takes_over)
        shared = set(predecessor.allocation.cores) if predecessor else set()
        for core in replica.allocation.cores:
            if core in used and core not in shared and replica.replica_id != handover.replica_id:
                used[core] += 1
    gpus = {gpu.uuid: _compute_gpu_room(node, gpu, by_id, handover) for gpu in node.gpus}
    return Room(node, used, sum(replica.allocation.memory_bytes for replica in replicas), gpus, scheduling)


def _compute_gpu_room(node: Node, gpu: Gpu, by_id: Mapping[str, Replica], handover: Handover) -> GpuRoom:
    percent = size_bytes = 0
    for replica in by_id.values():
        share = share_on(gpu, replica)
        if share is None:
            continue
        predecessor = by_id.get(replica.takes_over)
        before = share_on(gpu, predecessor) if predecessor else None
        shared_bytes = before.memory_bytes if before and _may_overlap(gpu, share, before) else 0
        if replica.replica_id != handover.replica_id:
            percent += max(0, share.percent - (before.percent if before else 0))
            size_bytes += max(0, share.memory_bytes - shared_bytes)
        elif handover.wants_stated_gpu_memory and is_memory_stated(gpu, share):
            size_bytes += share.memory_bytes
    condition = node.gpu_conditions.get(gpu.uuid)
    return GpuRoom(gpu, percent, size_bytes, condition.fault if condition else "")


def share_on(gpu: Gpu, replica: Replica) -> GpuShare | None:
    share = replica.allocation.gpu
    return share if share and share.uuid == gpu.uuid else None


def default_gpu_memory(gpu: Gpu, percent: int) -> int:
    """What a replica may take where nobody stated it: the same part of the memory as of the multiprocessors."""
    return gpu.memory_bytes * percent // 100


def is_memory_stated(gpu: Gpu, share: GpuShare) -> bool:
    return share.memory_bytes != default_gpu_memory(gpu, share.percent)


def _may_overlap(gpu: Gpu, one: GpuShare, other: GpuShare) -> bool:
    return not (is_memory_stated(gpu, one) and is_memory_stated(gpu, other))
