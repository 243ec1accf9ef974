"""What must hold of a route table before a router sees it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from controlplane.domain import Endpoint, RouteTable
from modelyard.errors import InternalError


def check_route_table(table: RouteTable) -> RouteTable:
    """The table itself. Raises InternalError that tells what is wrong with it."""
    problems = [*_check_routes(table), *_check_pools(table)]
    if problems:
        raise InternalError(f"route table {table.version} contradicts itself: {'; '.join(problems[:5])}")
    return table


def _check_routes(table: RouteTable) -> Iterator[str]:
    pools = {pool.name: pool for pool in table.pools}
    yield from _find_repeated("route", (route.key for route in table.routes))
    for route in table.routes:
        pool = pools.get(route.pool)
        if route.pool and pool is None:
            yield f"route {route.key} leads to pool {route.pool}, which is not there"
        elif pool is not None and (pool.model, pool.version) != (route.model, route.version):
            yield f"route {route.key} promises {route.model}@{route.version}, its pool is {pool.model}@{pool.version}"
        elif pool is None and not route.reason:
            yield f"route {route.key} leads nowhere and does not say why"


def _check_pools(table: RouteTable) -> Iterator[str]:
    yield from _find_repeated("pool", (pool.name for pool in table.pools))
    yield from _find_repeated("replica", (e.replica_id for pool in table.pools for e in pool.endpoints))
    for pool in table.pools:
        if not pool.endpoints:
            yield f"pool {pool.name} is empty"
        for endpoint in pool.endpoints:
            yield from _check_endpoint(endpoint)


def _check_endpoint(endpoint: Endpoint) -> Iterator[str]:
    if endpoint.weight < 1:
        yield f"replica {endpoint.replica_id} has weight {endpoint.weight}"
    if not 0 < endpoint.port < 65536:
        yield f"replica {endpoint.replica_id} has port {endpoint.port}"
    try:
        ip_address(endpoint.address)
    except ValueError:
        yield f"replica {endpoint.replica_id} has {endpoint.address!r} for an IP address"


def _find_repeated(kind: str, names: Iterable[str]) -> Iterator[str]:
    return (f"{kind} {name} is there twice" for name, count in Counter(names).items() if count > 1)
