"""The client for asyncio: `modelyard.aio.Client`. For threads see `modelyard.client`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from grpc import aio
from tritonclient.grpc import service_pb2

from modelyard import _calls, _inference
from modelyard._calls import UnreachableError
from modelyard._inference import Target, resolve_target
from modelyard.errors import InvalidArgumentError, NotFoundError, UnavailableError
from modelyard.model_metadata import ModelMetadata, ModelState
from modelyard.tensors import Array


class Client:
    """What `modelyard.Client` is, for the tasks of one event loop; make it inside the loop."""

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
        self._channel = aio.insecure_channel(address, _calls.CHANNEL_OPTIONS)
        self._methods = _inference.make_methods(self._channel)

    async def infer(
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
        """Runs a model once and returns its outputs by name: see `modelyard.Client.infer`."""
        target = resolve_target(model, alias=alias, version=version, model_id=model_id)
        merged = _inference.merge_inputs(inputs, tensors)
        deadline = self._deadline(timeout_s)
        datatypes = await self._input_datatypes(target, deadline) if _inference.needs_metadata(merged) else {}
        try:
            request = _inference.serialize_request(target, _inference.as_arrays(merged, datatypes), outputs)
            response = await self._call("ModelInfer", request, deadline, target=target, retries=retries)
        except InvalidArgumentError:
            self._datatypes.pop(target.key, None)  # the name may point to a version with other types by now
            raise
        return _inference.parse_response(response)

    async def metadata(
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
        return await self._metadata(target, self._deadline(timeout_s))

    async def is_ready(
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
                return bool(
                    (await self._call("ServerReady", service_pb2.ServerReadyRequest(), deadline, retries=0)).ready
                )
            target = resolve_target(model, alias=alias, version=version, model_id=model_id)
            request = service_pb2.ModelReadyRequest(name=target.model, version=target.version)
            return bool((await self._call("ModelReady", request, deadline, target=target, retries=0)).ready)
        except UnreachableError:
            raise
        except (NotFoundError, UnavailableError):
            return False

    async def models(self, *, timeout_s: float | None = None) -> list[ModelState]:
        """What the yard serves, or is about to."""
        response = await self._call("RepositoryIndex", service_pb2.RepositoryIndexRequest(), self._deadline(timeout_s))
        return [ModelState.from_proto(entry) for entry in response.models]

    async def close(self) -> None:
        """Ends the connection, and with it the calls that are under way."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _deadline(self, timeout_s: float | None) -> float:
        return time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)

    async def _metadata(self, target: Target, deadline: float) -> ModelMetadata:
        request = service_pb2.ModelMetadataRequest(name=target.model, version=target.version)
        return ModelMetadata.from_proto(await self._call("ModelMetadata", request, deadline, target=target))

    async def _input_datatypes(self, target: Target, deadline: float) -> dict[str, str]:
        if target.key not in self._datatypes:
            self._datatypes[target.key] = (await self._metadata(target, deadline)).input_datatypes
        return self._datatypes[target.key]

    async def _call(
        self, name: str, request: Any, deadline: float, *, target: Target | None = None, retries: int | None = None
    ) -> Any:
        method = self._methods[name]
        headers = _inference.make_headers(target)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await method(request, timeout=_calls.time_left_s(deadline), metadata=headers)
            except aio.AioRpcError as error:
                most = self._retries if retries is None else retries
                delay_s = _calls.choose_retry_delay_s(
                    error, attempt, most, _calls.time_left_s(deadline), random.random()
                )
                if delay_s is None:
                    raise _calls.to_yard_error(error, self._address) from error
            await asyncio.sleep(delay_s)
