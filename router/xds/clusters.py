"""Pools as clusters, their replicas as endpoints."""

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2
from envoy.config.core.v3 import config_source_pb2, health_check_pb2, protocol_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from router.table import Endpoint, Pool
from router.xds.types import LOCAL_CLUSTER, pack, seconds

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MAX_REQUESTS_PER_POOL = 1024
"""In flight at once in one Envoy; one more is refused with RESOURCE_EXHAUSTED, so that no queue grows without bound."""


def ads_source() -> config_source_pb2.ConfigSource:
    return config_source_pb2.ConfigSource(ads={}, resource_api_version="V3", initial_fetch_timeout=seconds(5))


def make_cluster(name: str) -> cluster_pb2.Cluster:
    """The cluster of the pool `name`. It depends on nothing else, so that one still in use can be made again."""
    cluster = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.EDS,
        eds_cluster_config={"eds_config": ads_source()},
        connect_timeout=seconds(1),
        # With Envoy's own 1 MiB, a large message stops and restarts its writer several times: up to a fifth of its CPU.
        per_connection_buffer_limit_bytes={"value": 16 << 20},
        circuit_breakers=_circuit_breakers(),
        outlier_detection=_outlier_detection(),
        load_balancing_policy=_least_request(),
    )
    # Without a window of 0, workers keep using a replica for a second after it was ejected or removed.
    cluster.common_lb_config.update_merge_window.SetInParent()
    # With every replica ejected, trying them is better than refusing everything. 1 means "only when none is left".
    cluster.common_lb_config.healthy_panic_threshold.value = 1
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(_http2_to_replicas()))
    return cluster


def make_endpoints(pool: Pool) -> endpoint_pb2.ClusterLoadAssignment:
    # An address may be there once only: Envoy ignores the second.
    unique = {(endpoint.address, endpoint.port): endpoint for endpoint in pool.endpoints}
    locality = endpoint_components_pb2.LocalityLbEndpoints(
        lb_endpoints=[_make_endpoint(endpoint) for _, endpoint in sorted(unique.items())],
        load_balancing_weight={"value": 1},
    )
    return endpoint_pb2.ClusterLoadAssignment(cluster_name=pool.name, endpoints=[locality])


def make_local_cluster(socket_path: str) -> cluster_pb2.Cluster:
    """Where requests go that name no served model: the router's own service on the unix socket `socket_path`."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": socket_path}}}}
    cluster = cluster_pb2.Cluster(
        name=LOCAL_CLUSTER,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=seconds(1),
        load_assignment={"cluster_name": LOCAL_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        circuit_breakers=_circuit_breakers(),
    )
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.explicit_http_config.http2_protocol_options.SetInParent()
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
    return cluster


def _make_endpoint(endpoint: Endpoint) -> endpoint_components_pb2.LbEndpoint:
    address = {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
    return endpoint_components_pb2.LbEndpoint(
        endpoint={"address": address},
        health_status=health_check_pb2.HEALTHY,
        load_balancing_weight={"value": endpoint.weight},
    )


def _circuit_breakers() -> circuit_breaker_pb2.CircuitBreakers:
    limit = {"value": MAX_REQUESTS_PER_POOL}
    # A replica that dies takes all its requests with it at once: the budget must hold a retry for each of them.
    retries = {"budget_percent": {"value": 25}, "min_retry_concurrency": {"value": 64}}
    thresholds = {"max_requests": limit, "max_pending_requests": limit, "retry_budget": retries}
    return circuit_breaker_pb2.CircuitBreakers(thresholds=[thresholds])


def _outlier_detection() -> outlier_detection_pb2.OutlierDetection:
    """Ejects a replica that fails, also one that fails quickly and so looks the least loaded.

    What counts is that it is sick: connections that fail, break or hang (of "local origin"), and UNAVAILABLE, which
    Envoy takes for a 503, a "gateway failure". The other 5xx do not: INTERNAL or UNKNOWN may be a model's answer to
    what one client sends, and that client would eject one healthy replica after the other. DEADLINE_EXCEEDED, a 504,
    cannot be told apart; but Envoy, which began to count the deadline before the replica did, gives that itself.
    """
    return outlier_detection_pb2.OutlierDetection(
        enforcing_consecutive_5xx={"value": 0},
        consecutive_gateway_failure={"value": 3},
        enforcing_consecutive_gateway_failure={"value": 100},
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure={"value": 3},
        # Shares of failures and rates of success, which Envoy looks at as well, count every 5xx.
        enforcing_success_rate={"value": 0},
        enforcing_failure_percentage={"value": 0},
        interval=seconds(1),
        base_ejection_time=seconds(2),
        max_ejection_time=seconds(30),
        max_ejection_percent={"value": 100},
    )


def _least_request() -> cluster_pb2.LoadBalancingPolicy:
    policy = least_request_pb2.LeastRequest(choice_count={"value": 2})
    extension = {"name": "envoy.load_balancing_policies.least_request", "typed_config": pack(policy)}
    return cluster_pb2.LoadBalancingPolicy(policies=[{"typed_extension_config": extension}])


def _http2_to_replicas() -> http_protocol_options_pb2.HttpProtocolOptions:
    http2 = protocol_pb2.Http2ProtocolOptions(
        initial_stream_window_size={"value": 1 << 20},
        initial_connection_window_size={"value": 8 << 20},
        # Finds out a replica that hangs: without it, all requests to it wait for their deadline.
        connection_keepalive={"interval": seconds(1), "timeout": seconds(2)},
    )
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.explicit_http_config.http2_protocol_options.CopyFrom(http2)
    return options
