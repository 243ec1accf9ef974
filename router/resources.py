"""Pure: the route table as Envoy's resources."""

from google.protobuf import any_pb2

from router.table import Table
from router.xds.clusters import make_cluster, make_endpoints, make_local_cluster
from router.xds.data_plane import DataPlane
from router.xds.listener import make_listener
from router.xds.routes import make_route_configuration
from router.xds.types import CLUSTER, ENDPOINTS, LISTENER, LOCAL_CLUSTER, ROUTE_CONFIGURATION, ROUTES, Resources, pack


def compute_resources(table: Table, plane: DataPlane) -> Resources:
    """All that Envoy needs to serve `table`, whole."""
    clusters = {LOCAL_CLUSTER: pack(make_local_cluster(plane.local_socket))}
    return {
        CLUSTER: clusters | {pool.name: compute_cluster(pool.name) for pool in table.pools},
        ENDPOINTS: {pool.name: pack(make_endpoints(pool)) for pool in table.pools},
        LISTENER: {"kserve": pack(make_listener(plane))},
        ROUTES: {ROUTE_CONFIGURATION: pack(make_route_configuration(table, plane))},
    }


def compute_cluster(pool_name: str) -> any_pb2.Any:
    """The cluster of a pool, also of one that is no longer in the table."""
    return pack(make_cluster(pool_name))
