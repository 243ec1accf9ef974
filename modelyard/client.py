"""The client for threads: `modelyard.Client`. For asyncio see `modelyard.aio`."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import grpc
from tritonclient.grpc import service_pb2

from modelyard import _calls, _inference
from modelyard._calls import UnreachableError
from modelyard._inference import Target, resolve_target
from modelyard.errors import InvalidArgumentError, NotFoundError, UnavailableError
from modelyard.model_metadata import ModelMetadata, ModelState
from modelyard.tensors import Array


class Client:
    """Asks a yard's models. One client serves any number of threads over one connection.

    `address`: "host:port" of a router. `timeout_s`: the deadline of a call, its retries included. `retries`: how often
    a call is sent again after UNAVAILABLE (see `modelyard._calls` for when that is safe); 0 for a model whose
    inference must not run twice. A process that forks makes its client after the fork.
    """

    def __init__(
        self,
        address: str = "localhost:8001",
        *,
        timeout_s: float = _calls.DEFAULT_TIMEOUT_S,
        retries: int = _calls.DEFAULT_RETRIES,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._retries = retries
        self._datatypes: dict[str, dict[str, str]] = {}
        self._channel = grpc.insecure_channel(address, _calls.CHANNEL_OPTIONS)
        self._methods = _inference.make_methods(self._channel)

    def infer(
        self,
        model: str | None = None,
        /,
        *,
        alias: str | None = None,
        version: int | str | None = None,
        model_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
        retries: int | None = None,
        **tensors: Any,
    ) -> dict[str, Array]:
        """Runs a model once and returns its outputs by name.

        Named by `model` alone ("resnet": what its alias production points to; "resnet@3" or "resnet@staging" as well),
        by `model` with `alias` or `version`, or by `model_id`.

        The inputs are keywords, or entries of `inputs` where a name is no Python identifier or is one of the options
        here. An array goes as it is: the server refuses a wrong type or shape by name. Numbers, strings and nested
        lists are converted to the type that the model declares, which is asked for once. Strings and bytes are BYTES.

        `outputs`: those wanted; all where empty. The arrays that come back are read-only views of the reply; BF16 comes
        as float32, BYTES as an object array of `bytes`.

        Raises the errors of `modelyard.errors`.
        """
        target = resolve_target(model, alias=alias, version=version, model_id=model_id)
        merged = _inference.merge_inputs(inputs, tensors)
        deadline = self._deadline(timeout_s)
        datatypes = self._input_datatypes(target, deadline) if _inference.needs_metadata(merged) else {}
        try:
            request = _inference.serialize_request(target, _inference.as_arrays(merged, datatypes), outputs)
            response = self._call("ModelInfer", request, deadline, target=target, retries=retries)
        except InvalidArgumentError:
            self._datatypes.pop(target.key, None)  # the name may point to a version with other types by now
            raise
        return _inference.parse_response(response)

    def metadata(
        self,
        model: str | None = None,
        /,
        *,
        alias: str | None = None,
        version: int | str | None = None,
        model_id: str | None = None,
        timeout_s: float | None = None,
    ) -> ModelMetadata:
        """Names, types and shapes of a model's inputs and outputs."""
        target = resolve_target(model, alias=alias, version=version, model_id=model_id)
        return self._metadata(target, self._deadline(timeout_s))

    def is_ready(
        self,
        model: str | None = None,
        /,
        *,
        alias: str | None = None,
        version: int | str | None = None,
        model_id: str | None = None,
        timeout_s: float | None = None,
    ) -> bool:
        """Whether an inference would be answered now; without a model, whether the yard itself is ready.

        False for a model that the yard does not know, too. Raises UnavailableError where no yard answers.
        """
        deadline = self._deadline(timeout_s)
        try:
            if model is None and model_id is None:
                return bool(self._call("ServerReady", service_pb2.ServerReadyRequest(), deadline, retries=0).ready)
            target = resolve_target(model, alias=alias, version=version, model_id=model_id)
            request = service_pb2.ModelReadyRequest(name=target.model, version=target.version)
            return bool(self._call("ModelReady", request, deadline, target=target, retries=0).ready)
        except UnreachableError:
            raise
        except (NotFoundError, UnavailableError):
            return False

    def models(self, *, timeout_s: float | None = None) -> list[ModelState]:
        """What the yard serves, or is about to."""
        response = self._call("RepositoryIndex", service_pb2.RepositoryIndexRequest(), self._deadline(timeout_s))
        return [ModelState.from_proto(entry) for entry in response.models]

    def close(self) -> None:
        """Ends the connection, and with it the calls that are under way."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _deadline(self, timeout_s: float | None) -> float:
        return time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)

    def _metadata(self, target: Target, deadline: float) -> ModelMetadata:
        request = service_pb2.ModelMetadataRequest(name=target.model, version=target.version)
        return ModelMetadata.from_proto(self._call("ModelMetadata", request, deadline, target=target))

    def _input_datatypes(self, target: Target, deadline: float) -> dict[str, str]:
        if target.key not in self._datatypes:
            self._datatypes[target.key] = self._metadata(target, deadline).input_datatypes
        return self._datatypes[target.key]

    def _call(
        self, name: str, request: Any, deadline: float, *, target: Target | None = None, retries: int | None = None
    ) -> Any:
        method = self._methods[name]
        headers = _inference.make_headers(target)
        attempt = 0
        while True:
            attempt += 1
            try:
                return method(request, timeout=_calls.time_left_s(deadline), metadata=headers)
            except grpc.RpcError as error:
                most = self._retries if retries is None else retries
                delay_s = _calls.choose_retry_delay_s(
                    error, attempt, most, _calls.time_left_s(deadline), random.random()
                )
                if delay_s is None:
                    raise _calls.to_yard_error(error, self._address) from error
            time.sleep(delay_s)
