"""Which CPU cores go together: near each other, on physical cores of their own, siblings last. No I/O, no clock.

Two threads on the siblings of one physical core share its execution units; two on cores of different NUMA nodes read
half of their memory across the link between those. So a set of cores stays on one NUMA node where it fits, and takes
siblings only where no physical core is left there.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Protocol


class CoreLike(Protocol):
    """Where a core is. Cores of one `physical_core` of a socket are its SMT siblings."""

    @property
    def number(self) -> int: ...
    @property
    def socket(self) -> int: ...
    @property
    def numa_node(self) -> int: ...
    @property
    def physical_core(self) -> int: ...


def choose_cores(count: int, used: Mapping[int, int], limit: int, topology: Sequence[CoreLike]) -> tuple[int, ...]:
    """`count` cores, sorted, of those in `used` that fewer than `limit` replicas have; all there are where too few.

    `used`: the replicas on each core. Of the NUMA nodes with room for all, the one is taken on which they share the
    least with others; of equal ones that with the least room, so that the others keep theirs for larger replicas.
    Where none has room for all, as few as possible are used.
    """
    where = {core.number: core for core in topology}
    free: dict[int, list[int]] = defaultdict(list)
    for number, replicas in used.items():
        if replicas < limit:
            free[where[number].numa_node if number in where else 0].append(number)
    enough = [node for node, numbers in free.items() if len(numbers) >= count]
    if not enough:
        return _choose_on_many(count, free, used, where)
    chosen = {node: _choose_on_one(free[node], count, used, where) for node in enough}
    best = min(enough, key=lambda node: (_count_shared(chosen[node], used, where), len(free[node]), node))
    return tuple(sorted(chosen[best]))


def _choose_on_many(
    count: int, free: Mapping[int, Sequence[int]], used: Mapping[int, int], where: Mapping[int, CoreLike]
) -> tuple[int, ...]:
    """Of the largest nodes, as many of those as it takes."""
    together: list[int] = []
    for node in sorted(free, key=lambda node: (-len(free[node]), node)):
        if len(together) < count:
            together += free[node]
    return tuple(sorted(_choose_on_one(together, count, used, where)))


def _choose_on_one(
    free: Iterable[int], count: int, used: Mapping[int, int], where: Mapping[int, CoreLike]
) -> list[int]:
    """One by one, each where the least runs already."""
    busy = _count_busy(used, where)
    left = [(used[number], busy[_physical(number, where)], number) for number in free]
    heapify(left)
    chosen: list[int] = []
    while left and len(chosen) < count:
        replicas, beside, number = heappop(left)
        # It never gets less: a core that is still the first after its sibling was chosen is the best.
        if beside < busy[_physical(number, where)]:
            heappush(left, (replicas, busy[_physical(number, where)], number))
            continue
        chosen.append(number)
        busy[_physical(number, where)] += 1
    return chosen


def _count_shared(chosen: Iterable[int], used: Mapping[int, int], where: Mapping[int, CoreLike]) -> tuple[int, int]:
    """How many replicas are on these cores already, and how many of these have a physical core with another."""
    busy = _count_busy(used, where)
    chosen = list(chosen)
    busy.update(_physical(number, where) for number in chosen)
    return sum(used[number] for number in chosen), sum(busy[_physical(number, where)] - 1 for number in chosen)


def _count_busy(used: Mapping[int, int], where: Mapping[int, CoreLike]) -> Counter[tuple[int, int]]:
    """How much runs on each physical core."""
    busy = Counter[tuple[int, int]]()
    for number, replicas in used.items():
        busy[_physical(number, where)] += replicas
    return busy


def _physical(number: int, where: Mapping[int, CoreLike]) -> tuple[int, int]:
    """The physical core, numbered within its socket; a core of which nothing is known is one of its own."""
    core = where.get(number)
    return (core.socket, core.physical_core) if core else (-1, number)
