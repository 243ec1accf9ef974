"""The keys of the route table as Envoy routes, found by one look-up of the header x-model.

A request without the header first matches a route whose filters read the name in the message and set the header; then
Envoy looks again. One with the header meets no filter at all.
"""

from collections.abc import Iterable

from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.type.matcher.v3 import http_inputs_pb2
from google.protobuf import any_pb2, wrappers_pb2
from xds.type.matcher.v3 import matcher_pb2

from router.table import Pool, Route, Table
from router.xds.data_plane import DataPlane
from router.xds.listener import MODEL_KEY_FILTERS, STREAM_KEY_FILTERS
from router.xds.local_replies import MAX_UPLOAD_PAUSE_S
from router.xds.types import LOCAL_CLUSTER, ROUTE_CONFIGURATION, pack, seconds, set_newer_field

KEY_HEADER = "x-model"
_SERVICE = "/inference.GRPCInferenceService"
_MODEL_METHODS = f"{_SERVICE}/Model"
_STREAM_PATH = f"{_SERVICE}/ModelStreamInfer"
_VIRTUAL_HOST_BUFFER_LIMIT = 25  # VirtualHost.request_body_buffer_limit
# Route.request_body_buffer_limit. The older per_request_buffer_limit_bytes is ignored where the host has a limit.
_ROUTE_BUFFER_LIMIT = 20
_MAX_REASON_CHARACTERS = 1000  # Envoy takes bodies of direct responses up to 4096 bytes
# These mean that the request has not run anywhere.
_RETRY_NOT_STARTED = "connect-failure,refused-stream"
_RETRY_MAY_HAVE_RUN = f"{_RETRY_NOT_STARTED},reset,unavailable,cancelled"


def make_route_configuration(table: Table, plane: DataPlane) -> route_pb2.RouteConfiguration:
    host = route_components_pb2.VirtualHost(name="models", domains=["*"])
    limit = wrappers_pb2.UInt64Value(value=plane.max_message_bytes)
    set_newer_field(host, _VIRTUAL_HOST_BUFFER_LIMIT, limit)
    if table.routes:
        host.matcher.CopyFrom(_make_matcher(table, plane))
    else:  # a matcher without an entry is not valid
        host.routes.extend(_make_other_routes(plane))
    return route_pb2.RouteConfiguration(name=ROUTE_CONFIGURATION, virtual_hosts=[host])


def _make_matcher(table: Table, plane: DataPlane) -> matcher_pb2.Matcher:
    """A tree: finding one of a thousand models takes no longer than one of two."""
    matcher = matcher_pb2.Matcher()
    tree = matcher.matcher_tree
    tree.input.name = KEY_HEADER
    tree.input.typed_config.Pack(http_inputs_pb2.HttpRequestHeaderMatchInput(header_name=KEY_HEADER))
    for route in table.routes:
        action = tree.exact_match_map.map[route.key].action
        action.name = "model"
        action.typed_config.CopyFrom(_pack_list(_make_model_routes(route, plane)))
    matcher.on_no_match.action.name = "no model"
    matcher.on_no_match.action.typed_config.CopyFrom(_pack_list(_make_other_routes(plane)))
    return matcher


def _pack_list(routes: Iterable[route_components_pb2.Route]) -> any_pb2.Any:
    return pack(route_components_pb2.RouteList(routes=routes))


def _make_model_routes(route: Route, plane: DataPlane) -> Iterable[route_components_pb2.Route]:
    name = f"model {route.key}"
    if route.pool is None:
        # The router's own service answers "not ready", which is no error.
        ready = _make_local_route(plane)
        ready.match.path = f"{_SERVICE}/ModelReady"
        return [ready, _make_refusal(name, route.reason or f"{name} has no replica that is ready")]
    stream = route_components_pb2.Route(name=name, match={"path": _STREAM_PATH})
    stream.route.CopyFrom(_make_stream_action(route.pool.name))
    # Of the methods of a model alone: the others of Triton's, such as one that loads code, are not for clients.
    unary = route_components_pb2.Route(name=name, match={"prefix": _MODEL_METHODS})
    unary.route.CopyFrom(_make_unary_action(route.pool.name, plane))
    unary.route.retry_policy.CopyFrom(_make_retry_policy(route.pool))
    # A copy of the request is kept for a retry; a larger one passes without.
    set_newer_field(unary, _ROUTE_BUFFER_LIMIT, wrappers_pb2.UInt64Value(value=plane.retry_buffer_bytes))
    if route.pool.no_retries:  # gRPC's word to clients: do not send it again either
        unary.response_headers_to_add.add(header={"key": "grpc-retry-pushback-ms", "value": "-1"})
    other = _make_local_route(plane)
    other.match.prefix = "/"
    return [stream, unary, other]


def _make_other_routes(plane: DataPlane) -> Iterable[route_components_pb2.Route]:
    """For requests whose key is not known, or not known yet."""
    unknown, stream, unary, other = (_make_local_route(plane) for _ in range(4))
    unknown.match.prefix = "/"
    unknown.match.headers.add(name=KEY_HEADER, present_match=True)
    stream.match.path = _STREAM_PATH
    stream.route.CopyFrom(_make_stream_action(LOCAL_CLUSTER))
    _enable_filters(stream, STREAM_KEY_FILTERS)
    unary.match.prefix = _MODEL_METHODS
    # Holds while the message is awaited; the route that is found then has no such limit.
    unary.route.idle_timeout.FromSeconds(MAX_UPLOAD_PAUSE_S)
    _enable_filters(unary, MODEL_KEY_FILTERS)
    other.match.prefix = "/"
    return [unknown, stream, unary, other]


def _make_unary_action(cluster: str, plane: DataPlane) -> route_components_pb2.RouteAction:
    """A request's own deadline holds, however long; without one, the router's."""
    return route_components_pb2.RouteAction(
        cluster=cluster,
        timeout=seconds(0),
        idle_timeout=seconds(0),
        max_stream_duration={
            "max_stream_duration": seconds(plane.request_timeout_s),
            "grpc_timeout_header_max": seconds(0),
        },
    )


def _make_stream_action(cluster: str) -> route_components_pb2.RouteAction:
    """Lives as long as the client wants, and is never sent again: a part of it may have run."""
    return route_components_pb2.RouteAction(
        cluster=cluster,
        timeout=seconds(0),
        idle_timeout=seconds(0),
        max_stream_duration={"grpc_timeout_header_max": seconds(0)},
    )


def _make_retry_policy(pool: Pool) -> route_components_pb2.RetryPolicy:
    """Elsewhere, at once, twice at most, within the budget of the cluster."""
    previous_hosts = {
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": pack(previous_hosts_pb2.PreviousHostsPredicate()),
    }
    return route_components_pb2.RetryPolicy(
        retry_on=_RETRY_NOT_STARTED if pool.no_retries else _RETRY_MAY_HAVE_RUN,
        num_retries={"value": 2},
        retry_host_predicate=[previous_hosts],
        # A dead replica has the fewest requests, so it is the one that is picked again and again until it is ejected.
        host_selection_retry_max_attempts=16,
        retry_back_off={"base_interval": seconds(0.005), "max_interval": seconds(0.05)},
    )


def _make_local_route(plane: DataPlane) -> route_components_pb2.Route:
    """To the router's own service. Its Python part may be starting again: then the request waits a moment for it."""
    route = route_components_pb2.Route(name="the router's own service")
    route.route.CopyFrom(_make_unary_action(LOCAL_CLUSTER, plane))
    policy = route.route.retry_policy
    policy.retry_on, policy.num_retries.value = _RETRY_NOT_STARTED, 5
    policy.retry_back_off.base_interval.FromMilliseconds(100)
    policy.retry_back_off.max_interval.FromMilliseconds(1000)
    return route


def _make_refusal(name: str, reason: str) -> route_components_pb2.Route:
    """UNAVAILABLE (503) with `reason`, which Envoy gives by itself, so also while the router's Python part is away."""
    route = route_components_pb2.Route(name=name, match={"prefix": "/"})
    route.direct_response.status = 503
    route.direct_response.body.inline_string = reason[:_MAX_REASON_CHARACTERS]
    return route


def _enable_filters(route: route_components_pb2.Route, names: Iterable[str]) -> None:
    enabled = route_components_pb2.FilterConfig()
    enabled.config.SetInParent()  # an empty configuration: the listener's own, but switched on
    for name in names:
        route.typed_per_filter_config[name].CopyFrom(pack(enabled))
