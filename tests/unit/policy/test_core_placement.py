"""Which cores of a node with several sockets the replicas of deployments get."""

from controlplane.domain import Core, Deployment
from tests.unit.policy.simulation import SimulatedNode, SimulatedYard

# Cores 0-3 with siblings 8-11 on NUMA node 0, 4-7 with 12-15 on node 1.
TOPOLOGY = tuple(Core(number, number % 8 // 4, number % 8 // 4, number % 8) for number in range(16))


def place(*threads: int) -> list[tuple[int, ...]]:
    """The cores of one replica each of deployments with that many threads, made one after the other."""
    yard = SimulatedYard(SimulatedNode("a", cores=16, topology=TOPOLOGY))
    for number, count in enumerate(threads):
        yard.set_alias(f"m{number}", 1)
        yard.deploy(Deployment(f"m{number}", "production", threads=count))
        yard.control()
    by_model = {replica.model: replica.allocation.cores for replica in yard.stored.replicas.values()}
    return [by_model[f"m{number}"] for number in range(len(threads))]


def test_replicas_fill_the_physical_cores_of_all_nodes_before_siblings() -> None:
    assert place(2, 3, 2, 1) == [(0, 1), (4, 5, 6), (2, 3), (7,)]
    *_, fifth = place(2, 3, 2, 1, 2)
    assert fifth == (8, 9)


def test_a_replica_that_no_node_has_physical_cores_for_stays_on_one_node() -> None:
    assert place(6, 6) == [(0, 1, 2, 3, 8, 9), (4, 5, 6, 7, 12, 13)]


def test_one_larger_than_a_node_is_spread() -> None:
    assert place(10) == [(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]


def test_a_node_that_tells_of_no_places_gives_the_lowest_numbers() -> None:
    yard = SimulatedYard(SimulatedNode("a", cores=4))
    yard.set_alias("resnet", 1)
    yard.deploy(Deployment("resnet", "production", threads=3))
    yard.control()
    assert [replica.allocation.cores for replica in yard.running()] == [(0, 1, 2)]
