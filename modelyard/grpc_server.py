"""What all gRPC servers of the yard share: the error interceptor, health, reflection, message sizes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from modelyard.errors import YardError, status_of

log = logging.getLogger(__name__)

# Percent-encoding makes up to nine bytes of a character; the header has room for 16 KiB where nobody says otherwise.
_MAX_MESSAGE_CHARACTERS = 1500


async def _abort(context: Any, method: str, error: Exception) -> None:
    if isinstance(error, YardError):
        await context.abort(status_of(error), _shorten(error.message))
    log.exception("unexpected error in %s", method, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "internal error; the server's log has the details")


def _shorten(message: str) -> str:
    """A status travels in a header, and a peer that takes no header of that size sees another error instead."""
    return message if len(message) <= _MAX_MESSAGE_CHARACTERS else message[: _MAX_MESSAGE_CHARACTERS - 3] + "..."


class ErrorInterceptor(aio.ServerInterceptor):
    """Turns domain errors into statuses; anything else becomes INTERNAL and leaks no text."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None  # no such method: gRPC answers UNIMPLEMENTED
        method = handler_call_details.method
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            wrap = grpc.stream_stream_rpc_method_handler if handler.request_streaming else None
            make = wrap or grpc.unary_stream_rpc_method_handler
            return make(_guard_stream(handler.stream_stream or handler.unary_stream, method), **codec)
        make_unary = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make_unary(_guard_unary(handler.stream_unary or handler.unary_unary, method), **codec)


def _guard_unary(behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
    async def guarded(request: Any, context: Any) -> Any:
        try:
            return await behaviour(request, context)
        except aio.AbortError:  # context.abort() was called: it is not an error of ours
            raise
        except Exception as error:
            await _abort(context, method, error)

    return guarded


def _guard_stream(behaviour: Callable[..., Any], method: str) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            responses = behaviour(request, context)
            if inspect.isawaitable(responses):  # it writes to the context instead, as gRPC's own Health.Watch does
                await responses
                return
            async for response in responses:
                yield response
        except aio.AbortError:
            raise
        except Exception as error:
            await _abort(context, method, error)

    return guarded


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
