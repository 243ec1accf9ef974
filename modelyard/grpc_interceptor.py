"""The one interceptor of all gRPC servers of the yard: requests are parsed, and errors become statuses."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from modelyard.errors import InvalidArgumentError, YardError, status_of

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
    """Turns domain errors into statuses; anything else becomes INTERNAL and leaks no text.

    Requests are parsed here, not by gRPC, which answers bytes that are no such message with UNKNOWN and a Python class.
    A behaviour must take its requests from its first argument: `context.read()` would give it bare bytes.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None  # no such method: gRPC answers UNIMPLEMENTED
        method, read = handler_call_details.method, _make_reader(handler)
        codec = {"response_serializer": handler.response_serializer}
        if handler.response_streaming:
            wrap = grpc.stream_stream_rpc_method_handler if handler.request_streaming else None
            make = wrap or grpc.unary_stream_rpc_method_handler
            return make(_guard_stream(handler.stream_stream or handler.unary_stream, method, read), **codec)
        make_unary = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make_unary(_guard_unary(handler.stream_unary or handler.unary_unary, method, read), **codec)


# What came in, one request's bytes or an iterator over them, as what the behaviour takes.
_Reader = Callable[[Any], Any]


def _make_reader(handler: Any) -> _Reader:
    deserialize = handler.request_deserializer
    if deserialize is None:  # it parses for itself
        return lambda request: request
    if handler.request_streaming:
        return lambda requests: _ParsedRequests(requests, deserialize)
    return lambda request: _parse(deserialize, request)


def _parse(deserialize: Callable[[bytes], Any], request: bytes) -> Any:
    try:
        return deserialize(request)
    except DecodeError as error:
        raise InvalidArgumentError(
            "the request cannot be read as the message that this method takes: "
            "was it damaged on its way, or sent by a program of another version?"
        ) from error


class _ParsedRequests:
    """A stream's requests as messages. Unlike a generator it needs no closing."""

    def __init__(self, requests: AsyncIterator[bytes], deserialize: Callable[[bytes], Any]) -> None:
        self._requests = requests
        self._deserialize = deserialize

    def __aiter__(self) -> _ParsedRequests:
        return self

    async def __anext__(self) -> Any:
        return _parse(self._deserialize, await anext(self._requests))


def _guard_unary(behaviour: Callable[..., Any], method: str, read: _Reader) -> Callable[..., Any]:
    async def guarded(request: Any, context: Any) -> Any:
        try:
            return await behaviour(read(request), context)
        except aio.AbortError:  # context.abort() was called: it is not an error of ours
            raise
        except Exception as error:
            await _abort(context, method, error)

    return guarded


def _guard_stream(behaviour: Callable[..., Any], method: str, read: _Reader) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            responses = behaviour(read(request), context)
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
