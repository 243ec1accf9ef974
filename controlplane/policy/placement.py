"""Which node a replica gets, and what of it: first fit over cores, GPUs and memory."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain import Allocation, ClusterSnapshot, Node, NodeScheduling, Replica
from controlplane.policy.core_choice import choose_cores
from controlplane.policy.demand import Demand
from controlplane.policy.filters import explain_format, explain_refusal
from controlplane.policy.gpu_choice import choose_gpu
from controlplane.policy.rooms import Room, compute_room

_REASONS_SHOWN = 3
NO_NODE = "no node is connected; start one with `modelyard agent --controller HOST:PORT`"


@dataclass(frozen=True)
class Place:
    node: str
    allocation: Allocation
    # The replica whose cores are shared until it is gone; "": none.
    takes_over: str = ""


@dataclass(frozen=True)
class NoPlace:
    """Why there is none, in a sentence."""

    reason: str
    # False where no replica that leaves could make room.
    is_for_want_of_room: bool = True


class Ledger:
    """What each node's cores, GPUs and memory are given to, while a plan is made."""

    def __init__(
        self, nodes: Iterable[Node], replicas: Iterable[Replica], scheduling: Mapping[str, NodeScheduling]
    ) -> None:
        self._scheduling = scheduling
        self._nodes = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
        self._replicas: dict[str, list[Replica]] = defaultdict(list)
        self._rooms: dict[str, Room] = {}
        for replica in replicas:
            self.add(replica)

    def add(self, replica: Replica) -> None:
        self._replicas[replica.node].append(replica)
        self._rooms.pop(replica.node, None)

    def rooms(self) -> Iterator[Room]:
        return (self.room(name) for name in self._nodes)

    def room(self, name: str) -> Room:
        if name not in self._rooms:
            self._rooms[name] = self._compute(name)
        return self._rooms[name]

    def room_without_cores_of(self, replica: Replica) -> Room | None:
        """The room of its node as if its cores and its GPU share were free; None where the node is unknown."""
        if replica.node not in self._nodes:
            return None
        return self._compute(replica.node, handed_over=replica.replica_id)

    def _compute(self, name: str, handed_over: str = "") -> Room:
        return compute_room(self._nodes[name], self._replicas[name], handed_over, self._scheduling.get(name))


def choose_place(demand: Demand, ledger: Ledger, predecessors: Iterable[Replica]) -> Place | NoPlace:
    """The first node, by name, with room; else the cores of the first of `predecessors` whose node has the memory."""
    for room in ledger.rooms():
        if not explain_refusal(room, demand):
            return Place(room.node.name, _allocate(room, demand))
    rooms = list(ledger.rooms())
    if any(room.node.connected for room in rooms) and (reason := explain_format(rooms, demand)):
        return NoPlace(reason, is_for_want_of_room=False)
    refusals: list[str] = []
    for predecessor in predecessors:
        shared = ledger.room_without_cores_of(predecessor)
        if shared is None:
            continue
        if not (refusal := explain_refusal(shared, demand)):
            return Place(shared.node.name, _allocate(shared, demand), takes_over=predecessor.replica_id)
        refusals.append(refusal)
    # Where cores could be handed over, what stands against that is what has to be mended.
    return NoPlace(refusals[0] if refusals else _explain(rooms, demand))


def _allocate(room: Room, demand: Demand) -> Allocation:
    node = room.node
    return Allocation(
        cores=choose_cores(demand.cores, room.used_slots, node.replicas_per_core, node.topology),
        threads=demand.cores,
        memory_bytes=demand.memory_bytes,
        gpu=choose_gpu(room, demand),
        is_memory_estimated=demand.is_memory_estimated,
    )


def _explain(rooms: Sequence[Room], demand: Demand) -> str:
    if not any(room.node.connected for room in rooms):
        return NO_NODE
    reasons = [explain_refusal(room, demand) for room in sorted(rooms, key=lambda room: not room.node.connected)]
    more = [f"and {len(reasons) - _REASONS_SHOWN} more nodes"] if len(reasons) > _REASONS_SHOWN else []
    return " | ".join(reasons[:_REASONS_SHOWN] + more)


def compute_rooms(snapshot: ClusterSnapshot) -> list[Room]:
    """What is left of each node that has reported, by name."""
    stored = snapshot.stored
    return list(Ledger(snapshot.nodes.values(), stored.replicas.values(), stored.scheduling).rooms())
