"""What clients may name, and what answers."""

from dataclasses import replace

import pytest

from controlplane.domain import Deployment, Endpoint, Pool, Route, RouteTable
from controlplane.policy.route_check import check_route_table
from modelyard.errors import InternalError
from tests.unit.policy.simulation import SimulatedNode, SimulatedYard


@pytest.fixture
def yard() -> SimulatedYard:
    return SimulatedYard(SimulatedNode("a", cores=16))


def test_the_table_stays_where_nothing_changed_and_begins_at_one(yard: SimulatedYard) -> None:
    assert yard.control().table.version == 1
    assert yard.control().table.version == 1


def test_an_alias_without_a_deployment_is_answered_by_one_of_the_same_version(yard: SimulatedYard) -> None:
    yard.set_alias("resnet", 1)
    yard.set_alias("resnet", 1, "champion")
    yard.set_alias("resnet", 2, "next")
    yard.deploy(Deployment("resnet", "production"))
    yard.settle()
    assert yard.route_of("resnet@champion").pool == "resnet/production@1"
    assert yard.route_of("resnet@next").pool == ""
    wanted = "resnet@2: the alias next is not deployed; deploy it with `modelyard deploy resnet --alias next`"
    assert yard.route_of("resnet@next").reason == wanted


def test_production_answers_first_where_two_serve_a_version(yard: SimulatedYard) -> None:
    for alias in ("eu", "production"):
        yard.set_alias("resnet", 1, alias)
        yard.deploy(Deployment("resnet", alias))
    yard.settle()
    assert yard.route_of("resnet@1").pool == "resnet/production@1"
    assert yard.route_of("resnet@eu").pool == "resnet/eu@1"
    yard.undeploy("resnet")
    yard.settle()
    assert yard.route_of("resnet").pool == "resnet/eu@1"


def test_a_model_without_production_says_which_names_it_has(yard: SimulatedYard) -> None:
    yard.set_alias("resnet", 1, "eu")
    yard.deploy(Deployment("resnet", "eu"))
    yard.settle()
    wanted = "resnet has no alias production: name resnet@eu, or set it with `modelyard alias set resnet production 1`"
    assert yard.route_of("resnet").reason == wanted


def test_retries_are_switched_off_for_the_whole_pool(yard: SimulatedYard) -> None:
    yard.set_alias("resnet", 1)
    yard.deploy(Deployment("resnet", "production", no_retries=True))
    yard.settle()
    assert [pool.no_retries for pool in yard.stored.route_table.pools] == [True]


GOOD = RouteTable(
    1,
    (Pool("m/p@1", "m", 1, (Endpoint("r", "10.0.0.1", 80), Endpoint("s", "fe80::1", 80))),),
    (Route("m", "m", 1, "m/p@1"), Route("m@q", "m", 0, "", "why")),
)


def with_endpoint(**changes: object) -> RouteTable:
    endpoint = replace(GOOD.pools[0].endpoints[0], **changes)  # type: ignore[arg-type]
    return replace(GOOD, pools=(replace(GOOD.pools[0], endpoints=(endpoint,)),))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (replace(GOOD, pools=()), "pool m/p@1, which is not there"),
        (replace(GOOD, routes=GOOD.routes + GOOD.routes[:1]), "route m is there twice"),
        (replace(GOOD, pools=GOOD.pools + GOOD.pools), "pool m/p@1 is there twice"),
        (replace(GOOD, routes=(Route("m", "m", 2, "m/p@1"),)), "promises m@2, its pool is m@1"),
        (replace(GOOD, routes=(Route("m", "m", 0, ""),)), "does not say why"),
        (replace(GOOD, pools=(replace(GOOD.pools[0], endpoints=()),)), "pool m/p@1 is empty"),
        (with_endpoint(weight=0), "weight 0"),
        (with_endpoint(port=0), "port 0"),
        (with_endpoint(address="localhost"), "'localhost' for an IP address"),
    ],
)
def test_a_table_that_contradicts_itself_is_not_published(table: RouteTable, problem: str) -> None:
    assert check_route_table(GOOD) is GOOD
    with pytest.raises(InternalError) as caught:
        check_route_table(table)
    assert problem in caught.value.message
