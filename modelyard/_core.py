"""What the two clients have in common: everything but how to wait for a reply.

A call is a generator. It yields each `Attempt` that is to be made, gets its reply or its failure, and returns what the
caller wanted. `modelyard.client` waits with a thread for that, `modelyard.aio` with a task.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import grpc
from tritonclient.grpc import service_pb2

from modelyard import _calls, _inference
from modelyard._calls import UnreachableError
from modelyard._target import Target, make_headers
from modelyard.addresses import check_address
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from modelyard.model_metadata import ModelMetadata, ModelState
from modelyard.tensors import Array

T = TypeVar("T")


class Attempt(NamedTuple):
    """One sending of a request, `delay_s` seconds from now. `deadline` is one of time.monotonic."""

    method: Any
    request: Any
    headers: list[tuple[str, str]]
    deadline: float
    delay_s: float = 0.0


Call = Generator[Attempt, Any, T]


class ClientCore:
    """What a client asks for, and what it makes of the replies. `timeout_s` and `retries`: of calls that have none."""

    def __init__(self, connect: Callable[..., Any], address: str, timeout_s: float, retries: int) -> None:
        if not isinstance(address, str):
            raise TypeError(f"address must be a string such as 'localhost:8001', not {address!r}")
        self._address = check_address(address)
        self._timeout_s = _calls.check_timeout_s(timeout_s)
        self._retries = _calls.check_retries(retries)
        self._datatypes: dict[str, dict[str, str]] = {}
        self.is_closed = False
        self.channel = connect(address, _calls.CHANNEL_OPTIONS)
        self._methods = _make_methods(self.channel)

    def infer(
        self,
        target: Target,
        inputs: Mapping[str, Any],
        outputs: Sequence[str],
        timeout_s: float | None,
        retries: int | None,
    ) -> Call[dict[str, Array]]:
        deadline = self._deadline(timeout_s)
        _inference.check_outputs(outputs)
        datatypes = (yield from self._input_datatypes(target, deadline)) if _inference.needs_metadata(inputs) else {}
        try:
            request = _inference.serialize_request(target, _inference.as_arrays(inputs, datatypes), outputs)
            response = yield from self._send("ModelInfer", request, deadline, target, retries)
        except InvalidArgumentError:
            self._datatypes.pop(target.key, None)  # the name may point to a version with other types by now
            raise
        return _inference.parse_response(response)

    def metadata(self, target: Target, timeout_s: float | None) -> Call[ModelMetadata]:
        return (yield from self._metadata(target, self._deadline(timeout_s)))

    def is_ready(self, target: Target | None, timeout_s: float | None) -> Call[bool]:
        deadline = self._deadline(timeout_s)
        if target:
            name, request = "ModelReady", service_pb2.ModelReadyRequest(name=target.model, version=target.number)
        else:
            name, request = "ServerReady", service_pb2.ServerReadyRequest()
        try:
            return bool((yield from self._send(name, request, deadline, target, retries=0)).ready)
        except UnreachableError:
            raise
        except (NotFoundError, UnavailableError):
            return False

    def models(self, timeout_s: float | None) -> Call[list[ModelState]]:
        request = service_pb2.RepositoryIndexRequest()
        response = yield from self._send("RepositoryIndex", request, self._deadline(timeout_s))
        return [ModelState.from_proto(entry) for entry in response.models]

    def make_closed_error(self) -> FailedPreconditionError:
        return FailedPreconditionError(f"this client of {self._address} is closed: make another one")

    def _deadline(self, timeout_s: float | None) -> float:
        return time.monotonic() + (self._timeout_s if timeout_s is None else _calls.check_timeout_s(timeout_s))

    def _metadata(self, target: Target, deadline: float) -> Call[ModelMetadata]:
        request = service_pb2.ModelMetadataRequest(name=target.model, version=target.number)
        return ModelMetadata.from_proto((yield from self._send("ModelMetadata", request, deadline, target)))

    def _input_datatypes(self, target: Target, deadline: float) -> Call[dict[str, str]]:
        if target.key not in self._datatypes:
            self._datatypes[target.key] = (yield from self._metadata(target, deadline)).input_datatypes
        return self._datatypes[target.key]

    def _send(
        self, name: str, request: Any, deadline: float, target: Target | None = None, retries: int | None = None
    ) -> Call[Any]:
        most = self._retries if retries is None else _calls.check_retries(retries)
        attempt = Attempt(self._methods[name], request, make_headers(target), deadline)
        failures = 0
        while not self.is_closed:
            try:
                return (yield attempt)
            except grpc.RpcError as error:
                failures += 1
                attempt = attempt._replace(delay_s=self._judge(error, failures, most, deadline))
            except Exception:
                if not self.is_closed:  # else it is the channel's own way to say so
                    raise
        raise self.make_closed_error()

    def _judge(self, error: grpc.RpcError, failures: int, most: int, deadline: float) -> float:
        """Seconds to wait before the next attempt. Raises what the caller gets where there is none."""
        if self.is_closed:
            raise self.make_closed_error() from error
        left_s = _calls.time_left_s(deadline)
        delay_s = _calls.choose_retry_delay_s(error, failures, most, left_s, random.random())
        if delay_s is None:
            raise _calls.to_yard_error(error, self._address) from error
        return delay_s


def _make_methods(channel: Any) -> dict[str, Any]:
    """The calls that a client uses, by name. ModelInfer takes the request's bytes, the others their message."""
    methods = {"ModelInfer": _unary(channel, "ModelInfer", serializer=None)}
    for name in ("ServerReady", "ModelReady", "ModelMetadata", "RepositoryIndex"):
        request_type = getattr(service_pb2, f"{name}Request")
        methods[name] = _unary(channel, name, serializer=request_type.SerializeToString)
    return methods


def _unary(channel: Any, name: str, serializer: Any) -> Any:
    deserializer = getattr(service_pb2, f"{name}Response").FromString
    return channel.unary_unary(f"/inference.GRPCInferenceService/{name}", serializer, deserializer)
