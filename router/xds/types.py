"""The kinds of resources that Envoy is sent, and how they are packed."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, message

from modelyard.varint import encode_varint

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

LOCAL_CLUSTER = "local"
"""The cluster of the router's own answers; no pool is called so."""

ROUTE_CONFIGURATION = "models"
"""The name by which the listener asks for the routes."""

# Type URL -> name -> resource.
Resources = Mapping[str, Mapping[str, any_pb2.Any]]


def pack(resource: message.Message) -> any_pb2.Any:
    """Equal messages give equal bytes, so that what did not change is not sent again."""
    packed = any_pb2.Any()
    packed.Pack(resource, deterministic=True)
    return packed


def set_newer_field(resource: message.Message, number: int, value: message.Message) -> None:
    """Sets a message field that Envoy knows and the installed xds-protos do not: protobuf keeps and sends it."""
    payload = value.SerializeToString()
    resource.MergeFromString(encode_varint(number << 3 | 2) + encode_varint(len(payload)) + payload)


def seconds(value: float) -> dict[str, Any]:
    """The fields of a google.protobuf.Duration of `value` seconds."""
    whole = int(value)
    return {"seconds": whole, "nanos": round((value - whole) * 1e9)}
