"""What all gRPC servers of the yard share: the interceptor, health, reflection, message sizes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from modelyard.grpc_interceptor import ErrorInterceptor


def message_size_options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
    ]


def create_server(
    service_names: Iterable[str] = (), *, max_message_bytes: int = 16 << 20, options: Iterable[tuple[str, Any]] = ()
) -> tuple[aio.Server, health.aio.HealthServicer]:
    """A grpc.aio server with the interceptor, gRPC health and reflection; the caller adds its servicers and a port.

    `service_names`: full names of the services, for reflection. `max_message_bytes`: largest message either way.
    """
    server = aio.server(
        interceptors=[ErrorInterceptor()],
        options=[
            ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it silently
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            # Envoy asks a replica every second whether it is still there, also while one inference runs for minutes.
            # gRPC takes that for an attack, and ends the connection with all that runs on it, unless told not to count.
            ("grpc.http2.max_ping_strikes", 0),
            *message_size_options(max_message_bytes),
            *options,
        ],
    )
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection([*service_names, health_name, reflection.SERVICE_NAME], server)
    return server, health_servicer
