"""Route tables to their messages."""

from controlplane.domain import Endpoint, Pool, Route, RouteTable
from modelyard.v1 import routing_pb2 as pb


def table_to_proto(table: RouteTable) -> pb.RouteTable:
    return pb.RouteTable(
        version=table.version,
        pools=[_pool_to_proto(pool) for pool in table.pools],
        routes=[_route_to_proto(route) for route in table.routes],
    )


def _pool_to_proto(pool: Pool) -> pb.Pool:
    return pb.Pool(
        name=pool.name,
        model=pool.model,
        version=pool.version,
        endpoints=[_endpoint_to_proto(endpoint) for endpoint in pool.endpoints],
        no_retries=pool.no_retries,
    )


def _endpoint_to_proto(endpoint: Endpoint) -> pb.Endpoint:
    return pb.Endpoint(
        replica_id=endpoint.replica_id, address=endpoint.address, port=endpoint.port, weight=endpoint.weight
    )


def _route_to_proto(route: Route) -> pb.Route:
    return pb.Route(key=route.key, model=route.model, version=route.version, pool=route.pool, reason=route.reason)
