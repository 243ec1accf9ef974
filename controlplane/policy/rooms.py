"""What is left of a node beside every replica that is not gone yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.domain import Gpu, Node, NodeScheduling, Replica


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
    def free_cores(self) -> int:
        """How many cores can take one more replica."""
        return sum(used < self.node.replicas_per_core for used in self.used_slots.values())

    @property
    def free_core_slots(self) -> int:
        return sum(max(0, self.node.replicas_per_core - used) for used in self.used_slots.values())

    @property
    def free_bytes(self) -> int:
        return max(0, self.node.memory_bytes - self.reserved_bytes)


def compute_room(
    node: Node, replicas: Sequence[Replica], handed_over: str = "", scheduling: NodeScheduling | None = None
) -> Room:
    """What `replicas`, all on `node`, leave of it.

    The cores and the GPU share of the replica `handed_over` count as free, and its memory does not.
    """
    used = dict.fromkeys(node.cores, 0)
    percents = dict.fromkeys((gpu.uuid for gpu in node.gpus), 0)
    gpu_bytes = dict(percents)
    by_id = {replica.replica_id: replica for replica in replicas}
    for replica in replicas:
        predecessor = by_id.get(replica.takes_over)
        shared = set(predecessor.allocation.cores) if predecessor else set()
        is_handed_over = replica.replica_id == handed_over
        for core in replica.allocation.cores:
            if core in used and core not in shared and not is_handed_over:
                used[core] += 1
        share = replica.allocation.gpu
        if share is None or share.uuid not in percents:
            continue
        gpu_bytes[share.uuid] += share.memory_bytes
        if not is_handed_over:
            percents[share.uuid] += max(0, share.percent - _percent_shared(predecessor, share.uuid))
    gpus = {gpu.uuid: _gpu_room(node, gpu, percents[gpu.uuid], gpu_bytes[gpu.uuid]) for gpu in node.gpus}
    return Room(node, used, sum(replica.allocation.memory_bytes for replica in replicas), gpus, scheduling)


def _percent_shared(predecessor: Replica | None, uuid: str) -> int:
    """What a successor has of the share of the one it takes over, until that is gone."""
    share = predecessor.allocation.gpu if predecessor else None
    return share.percent if share and share.uuid == uuid else 0


def _gpu_room(node: Node, gpu: Gpu, percent: int, size_bytes: int) -> GpuRoom:
    condition = node.gpu_conditions.get(gpu.uuid)
    return GpuRoom(gpu, percent, size_bytes, condition.fault if condition else "")
