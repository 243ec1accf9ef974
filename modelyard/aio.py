"""The client for asyncio: `modelyard.aio.Client`. For threads see `modelyard.client`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

from grpc import aio

from modelyard import _calls
from modelyard._core import Attempt, Call, ClientCore, T
from modelyard._inference import merge_inputs
from modelyard._target import resolve_optional_target, resolve_target
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
        self._core = ClientCore(aio.insecure_channel, address, timeout_s, retries)

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
        return await self._run(self._core.infer(target, merge_inputs(inputs, tensors), outputs, timeout_s, retries))

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
        return await self._run(self._core.metadata(target, timeout_s))

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
        target = resolve_optional_target(model, alias=alias, version=version, model_id=model_id)
        return await self._run(self._core.is_ready(target, timeout_s))

    async def models(self, *, timeout_s: float | None = None) -> list[ModelState]:
        """What the yard serves, or is about to."""
        return await self._run(self._core.models(timeout_s))

    async def close(self) -> None:
        """Ends the connection, and with it the calls that are under way."""
        self._core.is_closed = True
        await self._core.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _run(self, call: Call[T]) -> T:
        try:
            attempt = next(call)
            while True:
                try:
                    reply = await self._send(attempt)
                except Exception as error:
                    attempt = call.throw(error)
                else:
                    attempt = call.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _send(self, attempt: Attempt) -> Any:
        if attempt.delay_s:
            await asyncio.sleep(attempt.delay_s)
        timeout_s = _calls.time_left_s(attempt.deadline)
        try:
            return await attempt.method(attempt.request, timeout=timeout_s, metadata=attempt.headers)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._core.is_closed and not (task and task.cancelling()):  # by the channel's end, not by a caller
                raise self._core.make_closed_error() from None
            raise
