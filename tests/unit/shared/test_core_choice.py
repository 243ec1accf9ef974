"""Which cores go together."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core_choice import choose_cores


@dataclass(frozen=True)
class Spot:
    number: int
    socket: int
    numa_node: int
    physical_core: int


def host(sockets: int, physical_cores: int, threads: int = 2) -> tuple[Spot, ...]:
    """As Linux numbers it: first one thread of every physical core, socket by socket, then their siblings."""
    count = sockets * physical_cores
    return tuple(
        Spot(thread * count + core, core // physical_cores, core // physical_cores, core)
        for thread in range(threads)
        for core in range(count)
    )


# Cores 0-3 with siblings 8-11 on NUMA node 0, 4-7 with 12-15 on node 1.
TWO_SOCKETS = host(sockets=2, physical_cores=4)


def choose(count: int, *, taken: tuple[int, ...] = (), topology: tuple[Spot, ...] = TWO_SOCKETS) -> tuple[int, ...]:
    """Of a host whose cores are never shared."""
    used = {spot.number: int(spot.number in taken) for spot in topology}
    return choose_cores(count, used, 1, topology)


def test_physical_cores_of_one_node_come_first() -> None:
    assert choose(4) == (0, 1, 2, 3)


def test_siblings_come_when_a_node_has_no_physical_core_left() -> None:
    assert choose(5) == (0, 1, 2, 3, 8)
    assert choose(8) == (0, 1, 2, 3, 8, 9, 10, 11)


def test_a_replica_stays_on_one_node_with_siblings_rather_than_on_two_without() -> None:
    assert choose(6, taken=(4, 5, 6, 7, 12, 13)) == (0, 1, 2, 3, 8, 9)


def test_physical_cores_of_another_node_are_better_than_siblings_here() -> None:
    assert choose(2, taken=(0, 1, 2, 3)) == (4, 5)


def test_of_nodes_that_are_as_good_the_one_with_less_room_is_taken() -> None:
    assert choose(2, taken=(4,)) == (5, 6)


def test_where_no_node_has_room_for_all_as_few_as_possible_are_used() -> None:
    four_nodes = host(sockets=4, physical_cores=2, threads=1)  # cores 0-1, 2-3, 4-5, 6-7
    assert choose(4, taken=(0, 2), topology=four_nodes) == (4, 5, 6, 7)


def test_on_several_nodes_physical_cores_come_first_too() -> None:
    assert choose(9, taken=(15,)) == (0, 1, 2, 3, 4, 5, 6, 7, 8)


def test_where_there_are_too_few_all_are_taken() -> None:
    assert choose(20, taken=(3,)) == tuple(number for number in range(16) if number != 3)
    assert choose_cores(2, {}, 1, ()) == ()


def test_shared_cores_fill_evenly() -> None:
    used = dict.fromkeys(range(16), 0)
    for _ in range(48):
        (core,) = choose_cores(1, used, 4, TWO_SOCKETS)
        used[core] += 1
    assert set(used.values()) == {3}


def test_of_cores_that_are_nowhere_told_the_lowest_are_taken() -> None:
    assert choose_cores(2, dict.fromkeys((5, 3, 7), 0), 1, ()) == (3, 5)


@pytest.mark.parametrize("taken", [(0,), (8,), (0, 1), (8, 9), (0, 9, 2)])
def test_a_core_beside_a_busy_sibling_comes_last_on_a_host_of_one_socket(taken: tuple[int, ...]) -> None:
    one_socket = host(sockets=1, physical_cores=8)
    busy = {one_socket[number].physical_core for number in taken}
    chosen = choose(8 - len(taken), taken=taken, topology=one_socket)
    assert not busy & {one_socket[number].physical_core for number in chosen}


HOSTS = st.builds(host, st.integers(1, 4), st.integers(1, 6), st.integers(1, 2))


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, dict[int, int], int, tuple[Spot, ...]]:
    topology, limit = draw(HOSTS), draw(st.integers(1, 3))
    offered = draw(st.sets(st.sampled_from([spot.number for spot in topology]), min_size=1))
    used = {number: draw(st.integers(0, limit)) for number in offered}
    told = draw(st.sampled_from([topology, topology[: len(topology) // 2], ()]))
    return draw(st.integers(1, len(topology))), used, limit, told


@given(cases())
def test_only_free_cores_are_chosen_each_once_and_as_many_as_there_are(
    case: tuple[int, dict[int, int], int, tuple[Spot, ...]],
) -> None:
    count, used, limit, topology = case
    chosen = choose_cores(count, used, limit, topology)
    assert list(chosen) == sorted(set(chosen))
    assert all(used[number] < limit for number in chosen)
    assert len(chosen) == min(count, sum(replicas < limit for replicas in used.values()))


@given(cases())
def test_one_node_where_one_has_room_and_as_few_as_can_be_elsewhere(
    case: tuple[int, dict[int, int], int, tuple[Spot, ...]],
) -> None:
    count, used, limit, topology = case
    node_of = {spot.number: spot.numa_node for spot in topology}
    chosen = choose_cores(count, used, limit, topology)
    free = Counter(node_of.get(number, 0) for number, replicas in used.items() if replicas < limit)
    fewest, left = 0, len(chosen)
    for _, room in free.most_common():
        if left > 0:
            fewest, left = fewest + 1, left - room
    assert len({node_of.get(number, 0) for number in chosen}) == fewest


@given(cases())
def test_a_sibling_is_taken_only_where_its_node_has_no_idle_physical_core_left(
    case: tuple[int, dict[int, int], int, tuple[Spot, ...]],
) -> None:
    count, used, _, topology = case
    used = {number: min(replicas, 1) for number, replicas in used.items()}
    chosen = choose_cores(count, used, 1, topology)
    place = {spot.number: (spot.numa_node, spot.physical_core) for spot in topology}
    load = Counter[tuple[int, int]]()
    for number in (*chosen, *(number for number, replicas in used.items() if replicas)):
        load[place.get(number, (0, -1 - number))] += 1
    for number in chosen:
        spot = place.get(number, (0, -1 - number))
        if load[spot] > 1:
            idle = [n for n in used if (there := place.get(n, (0, -1 - n)))[0] == spot[0] and not load[there]]
            assert not idle, f"{number} has a busy sibling while {idle} are idle"


@given(cases(), st.randoms(use_true_random=False))
def test_the_same_host_gives_the_same_cores_in_whatever_order_it_is_told(
    case: tuple[int, dict[int, int], int, tuple[Spot, ...]], chance: object
) -> None:
    count, used, limit, topology = case
    shuffled = list(used.items())
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    told = tuple(reversed(topology))
    assert choose_cores(count, dict(shuffled), limit, told) == choose_cores(count, used, limit, topology)
