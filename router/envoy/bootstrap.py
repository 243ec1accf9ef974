"""What Envoy is told at its start; everything else comes over ADS."""

from pathlib import Path
from typing import Any

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONTROL_PLANE = "control-plane"


def make_bootstrap(node_id: str, admin_socket: Path, ads_socket: Path) -> dict[str, Any]:
    """Envoy's bootstrap configuration, as JSON has it."""
    ads = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": node_id, "cluster": "routers"},
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
