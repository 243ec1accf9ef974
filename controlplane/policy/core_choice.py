"""Which cores of a node a replica gets: near each other, on physical cores of their own, siblings last.

Two threads on the siblings of one physical core share its execution units; two on cores of different NUMA nodes read
half of their memory across the link between those. So a replica stays on one NUMA node where it fits, and takes
siblings only where no physical core is left there.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from controlplane.domain import Core


def choose_cores(count: int, used: Mapping[int, int], limit: int, topology: Sequence[Core]) -> tuple[int, ...]:
    """`count` cores, sorted, of those in `used` that fewer than `limit` replicas have; all there are where too few.

    `used`: the replicas on each core. Of the NUMA nodes with room for all, the one with the least room is taken, so
    that the others keep theirs for larger replicas; where none has, as few as possible are used.
    """
    where = {core.number: core for core in topology}
    nodes: dict[int, list[int]] = defaultdict(list)
    for number, replicas in used.items():
        if replicas < limit:
            nodes[where[number].numa_node if number in where else 0].append(number)
    chosen: list[int] = []
    for node in _order_nodes(nodes, count):
        chosen += _choose_on_one(nodes[node], count - len(chosen), used, where)
    return tuple(sorted(chosen))


def _order_nodes(nodes: Mapping[int, Sequence[int]], count: int) -> Iterable[int]:
    enough = [node for node, cores in nodes.items() if len(cores) >= count]
    if enough:
        return [min(enough, key=lambda node: (len(nodes[node]), node))]
    return sorted(nodes, key=lambda node: (-len(nodes[node]), node))


def _choose_on_one(free: Iterable[int], count: int, used: Mapping[int, int], where: Mapping[int, Core]) -> list[int]:
    left = set(free)
    # How busy each physical core is, by what runs on it and what is chosen.
    busy = Counter[tuple[int, int]]()
    for number, replicas in used.items():
        busy[_physical(number, where)] += replicas
    chosen: list[int] = []
    while left and len(chosen) < count:
        best = min(left, key=lambda number: (used[number], busy[_physical(number, where)], number))
        left.remove(best)
        chosen.append(best)
        busy[_physical(best, where)] += 1
    return chosen


def _physical(number: int, where: Mapping[int, Core]) -> tuple[int, int]:
    """The physical core, numbered within its socket; a core of which nothing is known is one of its own."""
    core = where.get(number)
    return (core.socket, core.physical_core) if core else (-1, number)
