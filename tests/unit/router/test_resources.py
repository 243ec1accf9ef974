from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as manager_pb2
from google.protobuf import any_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from router.resources import compute_cluster, compute_resources
from router.table import Endpoint, Pool, Route, Table
from router.xds.data_plane import DataPlane
from router.xds.types import CLUSTER, ENDPOINTS, LISTENER, ROUTES, set_newer_field

_PLANE = DataPlane("127.0.0.1", 8001, "/run/local.sock", 1 << 20, 600, 1 << 18)


def _unpack(packed: any_pb2.Any, kind: Any) -> Any:
    message = kind()
    assert packed.Unpack(message)
    return message


def _routes(table: Table, plane: DataPlane, key: str | None) -> list[Any]:
    """The routes for `key` in the order in which Envoy tries them; for None, those of requests without a known key."""
    (host,) = _unpack(compute_resources(table, plane)[ROUTES]["models"], route_pb2.RouteConfiguration).virtual_hosts
    if not host.HasField("matcher"):
        assert key is None
        return list(host.routes)
    tree = host.matcher.matcher_tree.exact_match_map.map
    action = host.matcher.on_no_match.action if key is None else tree[key].action
    return list(_unpack(action.typed_config, route_components_pb2.RouteList).routes)


def test_a_pool_is_a_cluster_that_lets_go_of_replicas_at_once(make_table: Any, plane: DataPlane) -> None:
    resources = compute_resources(make_table(1, {"m/production@1": [9, 7]}, {"m": "m/production@1"}), plane)
    assert resources[CLUSTER].keys() == {"local", "m/production@1"}
    cluster = _unpack(resources[CLUSTER]["m/production@1"], cluster_pb2.Cluster)
    assert cluster.common_lb_config.HasField("update_merge_window")
    assert cluster.common_lb_config.update_merge_window.ToNanoseconds() == 0
    assert cluster.circuit_breakers.thresholds[0].retry_budget.min_retry_concurrency.value == 64
    endpoints = _unpack(resources[ENDPOINTS]["m/production@1"], endpoint_pb2.ClusterLoadAssignment)
    ports = [e.endpoint.address.socket_address.port_value for e in endpoints.endpoints[0].lb_endpoints]
    assert ports == [7, 9]


def test_the_same_address_twice_is_one_endpoint(plane: DataPlane) -> None:
    twice = (Endpoint("10.0.0.1", 9, 1), Endpoint("10.0.0.1", 9, 2))
    resources = compute_resources(Table(1, (Pool("m/p@1", twice, no_retries=False),), ()), plane)
    endpoints = _unpack(resources[ENDPOINTS]["m/p@1"], endpoint_pb2.ClusterLoadAssignment)
    assert len(endpoints.endpoints[0].lb_endpoints) == 1


def test_streams_have_no_deadline_and_no_retries_of_the_router(make_table: Any, plane: DataPlane) -> None:
    table = make_table(1, {"m/production@1": [7]}, {"m": "m/production@1"})
    stream, unary, _ = _routes(table, plane, "m")
    assert stream.match.path.endswith("/ModelStreamInfer")
    assert not stream.route.HasField("retry_policy")
    assert not stream.route.max_stream_duration.HasField("max_stream_duration")
    assert unary.route.max_stream_duration.max_stream_duration.seconds == 600
    for route in (stream, unary):
        # 0: the client's own deadline, however long.
        assert route.route.max_stream_duration.HasField("grpc_timeout_header_max")
        assert route.route.max_stream_duration.grpc_timeout_header_max.ToNanoseconds() == 0
        assert not route.typed_per_filter_config, "a request whose key is known meets no filter"


def test_retries_are_what_the_pool_allows(plane: DataPlane) -> None:
    endpoint = (Endpoint("10.0.0.1", 9, 1),)
    pools = (Pool("a/p@1", endpoint, no_retries=False), Pool("b/p@1", endpoint, no_retries=True))
    table = Table(1, pools, (Route("a", "a", 1, pools[0], ""), Route("b", "b", 1, pools[1], "")))
    a, b = (_routes(table, plane, key)[1].route.retry_policy.retry_on.split(",") for key in ("a", "b"))
    assert set(a) == {"connect-failure", "refused-stream", "reset", "unavailable", "cancelled"}
    assert set(b) == {"connect-failure", "refused-stream"}


def test_a_model_that_is_not_ready_is_refused_by_envoy_itself(make_table: Any, plane: DataPlane) -> None:
    ready, other = _routes(make_table(1, {}, {"m": None}), plane, "m")
    assert (ready.match.path, ready.route.cluster) == ("/inference.GRPCInferenceService/ModelReady", "local")
    assert (other.direct_response.status, other.direct_response.body.inline_string) == (503, "m is loading")


def test_a_long_reason_fits_what_envoy_takes(plane: DataPlane) -> None:
    table = Table(1, (), (Route("m", "m", 1, None, "ü" * 9000),))
    body = _routes(table, plane, "m")[1].direct_response.body.inline_string
    assert 0 < len(body.encode()) <= 4096


def test_only_requests_without_a_key_are_read(make_table: Any, plane: DataPlane) -> None:
    for table in (make_table(1, {}, {}), make_table(1, {"m/p@1": [7]}, {"m": "m/p@1"})):
        unknown, stream, unary, other = _routes(table, plane, None)
        assert unknown.match.headers[0].name == "x-model"
        assert not unknown.typed_per_filter_config
        assert len(stream.typed_per_filter_config) == 2
        assert len(unary.typed_per_filter_config) == 1
        assert not other.typed_per_filter_config
        assert {route.route.cluster for route in (unknown, stream, unary, other)} == {"local"}


def test_all_filters_but_the_router_are_off_until_a_route_switches_them_on(make_table: Any, plane: DataPlane) -> None:
    packed = compute_resources(make_table(1, {}, {}), plane)[LISTENER]["kserve"]
    listener = _unpack(packed, listener_pb2.Listener)
    config = listener.filter_chains[0].filters[0].typed_config
    filters = _unpack(config, manager_pb2.HttpConnectionManager).http_filters
    assert [f.disabled for f in filters] == [True] * (len(filters) - 1) + [False]
    named = {name for route in _routes(make_table(1, {}, {}), plane, None) for name in route.typed_per_filter_config}
    assert named == {f.name for f in filters if f.disabled}


_NAMES = st.text("abc", min_size=1, max_size=3)
_POOLS = st.dictionaries(_NAMES, st.lists(st.integers(1, 9), unique=True), max_size=5)


@given(pools=_POOLS, data=st.data())
def test_every_cluster_that_a_route_names_has_endpoints(pools: dict[str, list[int]], data: st.DataObject) -> None:
    made = {
        name: Pool(f"{name}/p@1", tuple(Endpoint("10.0.0.1", port, 1) for port in ports), no_retries=False)
        for name, ports in pools.items()
    }
    targets = data.draw(st.dictionaries(_NAMES, st.sampled_from([None, *made.values()])))
    routes = tuple(Route(key, key, 1, pool, "") for key, pool in targets.items())
    table = Table(1, tuple(made.values()), routes)
    resources = compute_resources(table, _PLANE)
    named = {
        route.route.cluster
        for key in [*targets, None]
        for route in _routes(table, _PLANE, key)
        if route.HasField("route")
    }
    assert named <= resources[CLUSTER].keys()
    assert named - {"local"} <= resources[ENDPOINTS].keys()
    assert resources[CLUSTER].keys() - {"local"} == resources[ENDPOINTS].keys()
    # What is equal is not sent again, so it must be equal in bytes as well; and a cluster depends on its name alone.
    assert resources == compute_resources(table, _PLANE)
    assert all(resources[CLUSTER][name] == compute_cluster(name) for name in resources[ENDPOINTS])


def test_a_large_request_is_not_kept_for_a_retry(make_table: Any, plane: DataPlane) -> None:
    stream, unary, _ = _routes(make_table(1, {"m/production@1": [7]}, {"m": "m/production@1"}), plane, "m")
    limit = wrappers_pb2.UInt64Value(value=1 << 18)
    expected = route_components_pb2.Route()
    set_newer_field(expected, 20, limit)
    assert expected.SerializeToString() in unary.SerializeToString()
    assert expected.SerializeToString() not in stream.SerializeToString()
