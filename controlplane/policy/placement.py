"""Which node and which of its cores a replica gets: first fit over cores and memory."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from controlplane.domain import Allocation, ClusterSnapshot, Deployment, Node, Packaging, Replica, Version
from controlplane.policy.filters import Demand, Room, explain_format, explain_refusal

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


def compute_demand(deployment: Deployment, version: Version) -> Demand:
    """One core for each thread. Where no memory is stated: 256 MiB for the server, and thrice the model's file.

    A runtime holds the file as it was read, the weights as it lays them out, and room for the activations.
    """
    estimate = (256 << 20) + 3 * version.facts.size_bytes
    return Demand(
        cores=deployment.threads,
        memory_bytes=deployment.memory_bytes or estimate,
        format=version.facts.format,
        is_folder=version.facts.packaging is Packaging.TAR,
    )


class Ledger:
    """What each node's cores and memory are given to, while a plan is made."""

    def __init__(self, nodes: Iterable[Node], replicas: Iterable[Replica]) -> None:
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
            self._rooms[name] = compute_room(self._nodes[name], self._replicas[name])
        return self._rooms[name]

    def room_without_cores_of(self, replica: Replica) -> Room | None:
        """The room of its node as if its cores were free and its memory not; None where the node is unknown."""
        node = self._nodes.get(replica.node)
        if node is None:
            return None
        return compute_room(node, self._replicas[node.name], handed_over=replica.replica_id)


def compute_room(node: Node, replicas: Sequence[Replica], handed_over: str = "") -> Room:
    """What `replicas`, all on `node`, leave of it; the cores of the replica `handed_over` count as free."""
    used = dict.fromkeys(node.cores, 0)
    by_id = {replica.replica_id: replica for replica in replicas}
    for replica in replicas:
        predecessor = by_id.get(replica.takes_over)
        shared = set(predecessor.allocation.cores) if predecessor else set()
        for core in replica.allocation.cores:
            if core in used and core not in shared and replica.replica_id != handed_over:
                used[core] += 1
    return Room(node, used, sum(replica.allocation.memory_bytes for replica in replicas))


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
    cores = tuple(sorted(room.free_cores[: demand.cores]))
    return Allocation(cores, threads=demand.cores, memory_bytes=demand.memory_bytes)


def _explain(rooms: Sequence[Room], demand: Demand) -> str:
    if not any(room.node.connected for room in rooms):
        return NO_NODE
    reasons = [explain_refusal(room, demand) for room in sorted(rooms, key=lambda room: not room.node.connected)]
    more = [f"and {len(reasons) - _REASONS_SHOWN} more nodes"] if len(reasons) > _REASONS_SHOWN else []
    return " | ".join(reasons[:_REASONS_SHOWN] + more)


def compute_rooms(snapshot: ClusterSnapshot) -> list[Room]:
    """What is left of each node that has reported, by name."""
    return list(Ledger(snapshot.nodes.values(), snapshot.stored.replicas.values()).rooms())
