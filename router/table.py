"""The route table as the router sees it: frozen, and checked, so that nothing Envoy would refuse is ever sent to it."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelyard.errors import InvalidArgumentError
from modelyard.v1 import routing_pb2
from router.xds.types import LOCAL_CLUSTER


@dataclass(frozen=True)
class Endpoint:
    address: str  # an IP address
    port: int
    weight: int


@dataclass(frozen=True)
class Pool:
    name: str
    endpoints: tuple[Endpoint, ...]
    no_retries: bool


@dataclass(frozen=True)
class Route:
    """`pool` is None where the model is known but nothing is ready; `reason` then says why."""

    key: str
    model: str
    version: int
    pool: Pool | None
    reason: str


@dataclass(frozen=True)
class Table:
    version: int
    pools: tuple[Pool, ...]
    routes: tuple[Route, ...]


def parse_table(message: routing_pb2.RouteTable) -> Table:
    """Raises InvalidArgumentError that names each entry at fault."""
    if faults := [*_pool_faults(message), *_route_faults(message)]:
        raise InvalidArgumentError(f"route table {message.version} is not valid: {'; '.join(faults[:5])}")
    pools = {pool.name: _parse_pool(pool) for pool in message.pools}
    return Table(message.version, tuple(pools.values()), tuple(_parse_route(route, pools) for route in message.routes))


def _parse_route(route: routing_pb2.Route, pools: Mapping[str, Pool]) -> Route:
    pool = pools.get(route.pool)
    return Route(route.key, route.model, route.version, pool if pool and pool.endpoints else None, route.reason)


def _parse_pool(pool: routing_pb2.Pool) -> Pool:
    endpoints = (Endpoint(endpoint.address, endpoint.port, endpoint.weight) for endpoint in pool.endpoints)
    return Pool(pool.name, tuple(endpoints), pool.no_retries)


def _pool_faults(message: routing_pb2.RouteTable) -> Iterable[str]:
    for name, count in Counter(pool.name for pool in message.pools).items():
        if count > 1:
            yield f"pool {name!r} is there {count} times"
        if not _is_printable(name) or name == LOCAL_CLUSTER:
            yield f"{name!r} cannot be the name of a pool"
    for pool in message.pools:
        for endpoint in pool.endpoints:
            if fault := _endpoint_fault(endpoint):
                yield f"pool {pool.name!r}, replica {endpoint.replica_id!r}: {fault}"


def _endpoint_fault(endpoint: routing_pb2.Endpoint) -> str:
    try:
        ipaddress.ip_address(endpoint.address)
    except ValueError:
        return f"{endpoint.address!r} is not an IP address"
    if not 0 < endpoint.port < 65536:
        return f"{endpoint.port} is not a port"
    if endpoint.weight < 1:
        return f"weight {endpoint.weight} is less than 1"
    return ""


def _route_faults(message: routing_pb2.RouteTable) -> Iterable[str]:
    pools = {pool.name for pool in message.pools}
    for key, count in Counter(route.key for route in message.routes).items():
        if count > 1:
            yield f"route {key!r} is there {count} times"
        if not _is_printable(key):
            yield f"{key!r} cannot be the key of a route"
    for route in message.routes:
        if route.pool and route.pool not in pools:
            yield f"route {route.key!r} names a pool that is not there: {route.pool!r}"


def _is_printable(text: str) -> bool:
    """Whether it can be the value of a header and the name of a cluster as it is."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
