"""The line that agents and routers hold to their controller."""

from typing import Any

from grpc import aio

_OPTIONS: list[tuple[str, Any]] = [
    # Finds out within seconds that the controller's host is gone without a word, and that it is back.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Despite its name, what one try may take until the controller has greeted.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # A channel that is opened anew connects at once, without the back-off of the one before.
    ("grpc.use_local_subchannel_pool", 1),
    # A whole desired set or route table is one message.
    ("grpc.max_receive_message_length", -1),
]


def open_control_channel(controller: str) -> aio.Channel:
    """A channel to the controller at "host:port", to be closed by the caller."""
    return aio.insecure_channel(controller, options=_OPTIONS)
