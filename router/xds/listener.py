"""The listener: HTTP/2 in, and the filters that find a request's model where no header names it."""

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.grpc_field_extraction.v3 import config_pb2 as field_extraction_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as manager_pb2
from google.protobuf import descriptor_pb2, message
from tritonclient.grpc import model_config_pb2, service_pb2

from router.xds.clusters import ads_source
from router.xds.data_plane import DataPlane
from router.xds.local_replies import make_local_replies
from router.xds.model_key import MODEL_KEY_LUA, STREAM_KEY_LUA
from router.xds.types import ROUTE_CONFIGURATION, pack, seconds

_MODEL_KEY = "modelyard.model_key"
_FIRST_MESSAGE = "envoy.filters.http.grpc_field_extraction"  # also the name of the metadata it writes
_STREAM_KEY = "modelyard.stream_key"
MODEL_KEY_FILTERS = (_MODEL_KEY,)
"""Off unless a route switches them on: for unary requests. Lua on the message takes less CPU than extraction."""
STREAM_KEY_FILTERS = (_FIRST_MESSAGE, _STREAM_KEY)
"""The same for streams, of which only the first message may be waited for."""


def make_listener(plane: DataPlane) -> listener_pb2.Listener:
    listener = listener_pb2.Listener(name="kserve", per_connection_buffer_limit_bytes={"value": 1 << 20})
    address = listener.address.socket_address
    address.address, address.port_value = plane.listen_host, plane.listen_port
    # Envoy's next process takes over the port while this one drains.
    listener.enable_reuse_port.value = True
    manager = listener.filter_chains.add().filters.add(name="envoy.filters.network.http_connection_manager")
    manager.typed_config.CopyFrom(pack(_make_manager(plane)))
    return listener


def _make_manager(plane: DataPlane) -> manager_pb2.HttpConnectionManager:
    manager = manager_pb2.HttpConnectionManager(
        stat_prefix="kserve",
        codec_type=manager_pb2.HttpConnectionManager.HTTP2,
        rds={"config_source": ads_source(), "route_config_name": ROUTE_CONFIGURATION},
        # Routes say how long a request may be idle: a stream as long as it wants. Clients that are gone are found by
        # the keepalive.
        stream_idle_timeout=seconds(0),
        drain_timeout=seconds(5),
        generate_request_id={"value": False},
        local_reply_config=make_local_replies(plane),
        http_filters=_make_filters(),
    )
    http2 = manager.http2_protocol_options
    http2.max_concurrent_streams.value = 1024
    http2.initial_stream_window_size.value = 1 << 20
    http2.initial_connection_window_size.value = 16 << 20
    http2.connection_keepalive.interval.FromSeconds(30)
    http2.connection_keepalive.timeout.FromSeconds(10)
    return manager


def _make_filters() -> list[manager_pb2.HttpFilter]:
    return [
        _make_filter(_MODEL_KEY, _make_lua(MODEL_KEY_LUA), disabled=True),
        _make_filter(_FIRST_MESSAGE, _make_field_extraction(), disabled=True),
        _make_filter(_STREAM_KEY, _make_lua(STREAM_KEY_LUA), disabled=True),
        _make_filter("envoy.filters.http.router", router_pb2.Router(suppress_envoy_headers=True), disabled=False),
    ]


def _make_filter(name: str, config: message.Message, *, disabled: bool) -> manager_pb2.HttpFilter:
    return manager_pb2.HttpFilter(name=name, typed_config=pack(config), disabled=disabled)


def _make_lua(code: str) -> lua_pb2.Lua:
    return lua_pb2.Lua(default_source_code={"inline_string": code})


def _make_field_extraction() -> field_extraction_pb2.GrpcFieldExtractionConfig:
    descriptors = descriptor_pb2.FileDescriptorSet()
    for module in (model_config_pb2, service_pb2):
        descriptors.file.add().MergeFromString(module.DESCRIPTOR.serialized_pb)
    config = field_extraction_pb2.GrpcFieldExtractionConfig()
    config.descriptor_set.inline_bytes = descriptors.SerializeToString(deterministic=True)
    fields = config.extractions_by_method["inference.GRPCInferenceService.ModelStreamInfer"].request_field_extractions
    for name in ("model_name", "model_version"):
        fields[name].SetInParent()
    return config
