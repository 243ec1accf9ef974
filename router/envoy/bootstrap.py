"""What Envoy is told at its start; everything else comes over ADS."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONTROL_PLANE = "control-plane"
_HEAP = "envoy.resource_monitors.fixed_heap"


def make_bootstrap(
    node_id: str, metadata: Mapping[str, Any], admin_socket: Path, ads_socket: Path, memory_limit_bytes: int
) -> dict[str, Any]:
    """Envoy's bootstrap configuration, as JSON has it. `metadata` means nothing to Envoy."""
    ads = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": node_id, "cluster": "routers", "metadata": metadata},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [_make_grpc_service()],
                "set_node_on_first_message_only": True,
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {"clusters": [_make_control_plane(ads_socket)]},
        "overload_manager": _make_overload_manager(memory_limit_bytes),
    }


def _make_grpc_service() -> dict[str, Any]:
    # By itself, Envoy tries again only after up to 30 s, and an Envoy that starts without ADS does not serve.
    back_off = {"base_interval": "0.1s", "max_interval": "1s"}
    return {"envoy_grpc": {"cluster_name": _CONTROL_PLANE, "retry_policy": {"retry_back_off": back_off}}}


def _make_control_plane(ads_socket: Path) -> dict[str, Any]:
    http2 = {"connection_keepalive": {"interval": "10s", "timeout": "5s"}}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(ads_socket)}}}}
    return {
        "name": _CONTROL_PLANE,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
        "load_assignment": {"cluster_name": _CONTROL_PLANE, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _make_overload_manager(memory_limit_bytes: int) -> dict[str, Any]:
    """Near the limit new requests are refused; at it, the streams that hold most are ended."""
    heap = {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        "max_heap_size_bytes": memory_limit_bytes,
    }
    return {
        "refresh_interval": "0.1s",
        "resource_monitors": [{"name": _HEAP, "typed_config": heap}],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
        "actions": [
            _make_action("shrink_heap", {"threshold": {"value": 0.7}}),
            _make_action("stop_accepting_requests", {"threshold": {"value": 0.8}}),
            _make_action(
                "reset_high_memory_stream", {"scaled": {"scaling_threshold": 0.9, "saturation_threshold": 1.0}}
            ),
        ],
    }


def _make_action(name: str, trigger: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **trigger}]}
