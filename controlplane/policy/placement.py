"""Which node a replica gets, and what of it: first fit over cores, GPUs and memory."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.domain import Allocation, ClusterSnapshot, Node, NodeScheduling, Replica
from controlplane.policy.demand import Demand
from controlplane.policy.filters import explain_format, explain_refusal
from controlplane.policy.gpu_choice import choose_gpu
from controlplane.policy.rooms import NO_HANDOVER, Handover, Room, compute_room
from controlplane.policy.wording import list_nodes
from modelyard.core_choice import choose_cores

_REASONS_SHOWN = 3
_START_ONE = "start one with `modelyard agent --controller HOST:PORT`"
NO_NODE = f"no node is connected; {_START_ONE}"


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
    # Looked for only because of nodes that are drained, and those who would move serve there as well as elsewhere.
    is_for_drain: bool = False


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

    def room_after(self, replica: Replica, demand: Demand) -> Room | None:
        """The room of its node if it handed over to a replica with this demand; None where the node is unknown."""
        if replica.node not in self._nodes:
            return None
        return self._compute(replica.node, Handover(replica.replica_id, bool(demand.gpu_memory_bytes)))

    def _compute(self, name: str, handover: Handover = NO_HANDOVER) -> Room:
        return compute_room(self._nodes[name], self._replicas[name], handover, self._scheduling.get(name))


def choose_place(demand: Demand, ledger: Ledger, predecessors: Iterable[Replica]) -> Place | NoPlace:
    """The first node, by name, with room; else the cores of the first of `predecessors` whose node has the memory.

    Who needs no GPU goes to a node that has one last: whoever needs it needs cores there as well.
    """
    for room in sorted(ledger.rooms(), key=lambda room: bool(room.node.gpus) and not demand.gpu_percent):
        if not explain_refusal(room, demand):
            return Place(room.node.name, _allocate(room, demand))
    rooms = list(ledger.rooms())
    if any(room.node.connected for room in rooms) and (reason := explain_format(rooms, demand)):
        return NoPlace(reason, is_for_want_of_room=False)
    refusals: dict[str, str] = {}
    drained: set[str] = set()
    for predecessor in predecessors:
        shared = ledger.room_after(predecessor, demand)
        if shared is None or shared.scheduling is not None:
            drained |= {predecessor.node} if shared and shared.is_drained else set()
            continue  # no room there would help
        if not (refusal := explain_refusal(shared, demand)):
            return Place(shared.node.name, _allocate(shared, demand), takes_over=predecessor.replica_id)
        refusals.setdefault(predecessor.node, refusal)
    return NoPlace(_explain(rooms, demand, drained, refusals))


def _allocate(room: Room, demand: Demand) -> Allocation:
    node = room.node
    return Allocation(
        cores=choose_cores(demand.cores, room.used_slots, node.replicas_per_core, node.topology),
        threads=demand.cores,
        memory_bytes=demand.memory_bytes,
        gpu=choose_gpu(room, demand),
        is_memory_estimated=demand.is_memory_estimated,
    )


def _explain(rooms: Sequence[Room], demand: Demand, left: Collection[str], after_handover: Mapping[str, str]) -> str:
    """`left`: the nodes that the replicas have to leave, of which nobody asks why they cannot be there.

    `after_handover`: by node, why not even the cores of a predecessor help there. Those are told first: there the
    least has to be mended.
    """
    if not after_handover and not any(room.node.connected for room in rooms):
        return NO_NODE
    others = [room for room in rooms if room.node.name not in left]
    if not others:
        return f"there is no other node; {_START_ONE}, or open {list_nodes(sorted(left))} again"
    # Those first on which room can be made.
    ordered = sorted(others, key=lambda room: (not room.node.connected, room.scheduling is not None))
    ordered.sort(key=lambda room: room.node.name not in after_handover)
    reasons = [after_handover.get(room.node.name) or explain_refusal(room, demand) for room in ordered]
    more = [f"and {len(reasons) - _REASONS_SHOWN} more nodes"] if len(reasons) > _REASONS_SHOWN else []
    return " | ".join(reasons[:_REASONS_SHOWN] + more)


def compute_rooms(snapshot: ClusterSnapshot) -> list[Room]:
    """What is left of each node that has reported, by name."""
    stored = snapshot.stored
    return list(Ledger(snapshot.nodes.values(), stored.replicas.values(), stored.scheduling).rooms())
