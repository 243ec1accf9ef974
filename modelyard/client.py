"""The client for threads: `modelyard.Client`. For asyncio see `modelyard.aio`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import grpc

from modelyard import _calls
from modelyard._core import Attempt, Call, ClientCore, T
from modelyard._inference import merge_inputs
from modelyard._target import resolve_optional_target, resolve_target
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
        self._core = ClientCore(grpc.insecure_channel, address, timeout_s, retries)

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
        return self._run(self._core.infer(target, merge_inputs(inputs, tensors), outputs, timeout_s, retries))

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
        return self._run(self._core.metadata(target, timeout_s))

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
        target = resolve_optional_target(model, alias=alias, version=version, model_id=model_id)
        return self._run(self._core.is_ready(target, timeout_s))

    def models(self, *, timeout_s: float | None = None) -> list[ModelState]:
        """What the yard serves, or is about to."""
        return self._run(self._core.models(timeout_s))

    def close(self) -> None:
        """Ends the connection, and with it the calls that are under way."""
        self._core.is_closed = True
        self._core.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        try:
            attempt = next(call)
            while True:
                try:
                    reply = self._send(attempt)
                except Exception as error:
                    attempt = call.throw(error)
                else:
                    attempt = call.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    def _send(self, attempt: Attempt) -> Any:
        if attempt.delay_s:
            time.sleep(attempt.delay_s)
        timeout_s = _calls.time_left_s(attempt.deadline)
        return attempt.method(attempt.request, timeout=timeout_s, metadata=attempt.headers)
