"""The statuses and sentences of the errors that Envoy itself gives."""

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as manager_pb2

from router.xds.clusters import MAX_REQUESTS_PER_POOL
from router.xds.data_plane import DataPlane
from router.xds.types import pack

MAX_UPLOAD_PAUSE_S = 60
"""How long nothing may come of a message that is awaited to find the model's name in it."""

# Envoy's words for what went wrong where it looked for the model of a stream; then comes its status.
_EXTRACTION = "grpc_field_extraction"
_INVALID_ARGUMENT = 3
_DEADLINE_EXCEEDED = 4
_RESOURCE_EXHAUSTED = 8
_UNAVAILABLE = 14
# A route's name is "model resnet@3", or "the router's own service".
_WHAT = "%ROUTE_NAME%"


def make_local_replies(plane: DataPlane) -> manager_pb2.LocalReplyConfig:
    """The first mapper that fits counts; what none fits keeps Envoy's own status and words."""
    too_large = (
        f"the message is larger than the {plane.max_message_bytes} bytes that this router takes (its setting "
        "--max-message-bytes); a client that names the model in the header x-model is not held to it"
    )
    full = (
        "this router is near the limit of its memory (its setting --memory-limit-bytes) with the requests that it has; "
        "try again later"
    )
    unreadable = (
        "the first message of the stream cannot be read: it is compressed, or no KServe v2 request; name the model in "
        "the header x-model (NAME or NAME@VERSION), or send it uncompressed"
    )
    return manager_pb2.LocalReplyConfig(
        mappers=[
            *_make_upstream_mappers(),
            *_make_deadline_mappers(plane),
            _make_mapper(_details("overload"), _RESOURCE_EXHAUSTED, full),
            _make_mapper(_http_status(413), _RESOURCE_EXHAUSTED, too_large),
            _make_mapper(_details(f"{_EXTRACTION}_FAILED_PRECONDITION"), _RESOURCE_EXHAUSTED, too_large),
            _make_mapper(_details(_EXTRACTION), _INVALID_ARGUMENT, unreadable),
        ]
    )


def _make_upstream_mappers() -> list[manager_pb2.ResponseMapper]:
    unavailable = f"{_WHAT} has no replica that can answer; try again later"
    overflow = f"{_WHAT} has {MAX_REQUESTS_PER_POOL} requests in flight, which is the most; try again later"
    gone = f"{_WHAT} cannot be reached: what served the request went away; try again"
    return [
        _make_mapper(_flags("UH", "NC"), _UNAVAILABLE, unavailable),
        _make_mapper(_flags("UO"), _RESOURCE_EXHAUSTED, overflow),
        _make_mapper(_flags("UF", "UC", "UR", "LR"), _UNAVAILABLE, gone),
    ]


def _make_deadline_mappers(plane: DataPlane) -> list[manager_pb2.ResponseMapper]:
    late = (
        f"{_WHAT} gave no answer within the deadline of the request (without one, the {plane.request_timeout_s:g} s of "
        "this router's setting --request-timeout-s)"
    )
    paused = f"the message did not arrive: nothing of it came for {MAX_UPLOAD_PAUSE_S} s"
    return [
        _make_mapper(_details("max_duration_timeout"), _DEADLINE_EXCEEDED, late),
        _make_mapper(_flags("SI"), _DEADLINE_EXCEEDED, paused),
    ]


def _make_mapper(chosen: accesslog_pb2.AccessLogFilter, status: int, sentence: str) -> manager_pb2.ResponseMapper:
    """Envoy puts the body of its own error into grpc-message."""
    mapper = manager_pb2.ResponseMapper(filter=chosen)
    mapper.body_format_override.text_format_source.inline_string = sentence
    mapper.headers_to_add.add(
        header={"key": "grpc-status", "value": str(status)},
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return mapper


def _flags(*flags: str) -> accesslog_pb2.AccessLogFilter:
    return accesslog_pb2.AccessLogFilter(response_flag_filter={"flags": flags})


def _http_status(status: int) -> accesslog_pb2.AccessLogFilter:
    comparison = accesslog_pb2.ComparisonFilter(op=accesslog_pb2.ComparisonFilter.EQ)
    comparison.value.default_value = status
    comparison.value.runtime_key = "unused"
    return accesslog_pb2.AccessLogFilter(status_code_filter={"comparison": comparison})


def _details(part: str) -> accesslog_pb2.AccessLogFilter:
    """Where Envoy's own name for what went wrong contains `part`."""
    expression = cel_pb2.ExpressionFilter(expression=f"response.code_details.contains('{part}')")
    extension = {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": pack(expression)}
    return accesslog_pb2.AccessLogFilter(extension_filter=extension)
