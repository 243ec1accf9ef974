"""Whether a replica answers, asked as a client would: with an inference."""

import logging
import math
import time
from dataclasses import replace

import grpc
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelyard.addresses import format_address
from modelyard.datatypes import BY_NAME
from modelyard.grpc_server import message_size_options
from nodeagent.replica_spec import ReplicaSpec, TensorSpec

log = logging.getLogger(__name__)

# The model's own answer to zeros, which may mean nothing to it.
_REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)
# Triton's words where the process that runs the model has died. It says that it is ready all the same.
_DEAD_STUB = "Stub process"
# Triton's words, with UNAVAILABLE, where as many requests wait as may.
_FULL_QUEUE = "Exceeds maximum queue size"
# Triton may count an answer that is an error as any other: so often in a row others' answers stand for a canary there.
_MOST_TRUSTED = 4
_LARGEST_CANARY_BYTES = 64 << 20


class CanaryError(Exception):
    """Why a replica counts as not answering, in a sentence."""


def make_canary(spec: ReplicaSpec, token: str) -> service_pb2.ModelInferRequest | None:
    """An inference of zeros, with one for each dimension that varies; strings are empty.

    `token`: what makes it a probe to its server; "": a server that is not the yard's own, and takes scalars as [1].
    None where it were large: it would cost this agent that much, and the replica the time, at every probe.
    """
    sizes = [_size_bytes(tensor) for tensor in spec.inputs]
    if sum(sizes) > _LARGEST_CANARY_BYTES:
        return None
    request = service_pb2.ModelInferRequest(model_name=spec.model, model_version=str(spec.version), id=token)
    for tensor, size_bytes in zip(spec.inputs, sizes, strict=True):
        shape = _shape(tensor) or ([] if token else [1])
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        request.raw_input_contents.append(bytes(size_bytes))
    return request


def _shape(tensor: TensorSpec) -> list[int]:
    return [1 if size < 0 else size for size in tensor.shape]


def _size_bytes(tensor: TensorSpec) -> int:
    return BY_NAME[tensor.datatype].least_item_bytes * math.prod(_shape(tensor))


class Prober:
    """Probes one process. `token`: what makes a request a probe to its server; "": to that, all requests are alike."""

    def __init__(self, spec: ReplicaSpec, host: str, port: int, max_message_bytes: int, token: str) -> None:
        options = [*message_size_options(max_message_bytes), ("grpc.enable_http_proxy", 0)]
        self._channel = aio.insecure_channel(format_address(host, port), options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._spec = spec
        self._token = token
        self._canary = make_canary(spec, token)
        # A plan's inputs are known to its server alone.
        self._knows_inputs = bool(spec.inputs)
        self._counts_canaries = not token
        # How many probes since the last canary were judged by what others were answered.
        self._trusted = 0
        self._canary_answered = False
        self._refusal_told = False
        # Of the server's life, as of the last probe; None: not known yet.
        self._answers: int | None = None
        self._shortest_s = math.inf

    async def probe(self, timeout_s: float) -> float:
        """Seconds that the shortest canary so far took. Raises CanaryError, at the latest after `timeout_s` seconds.

        Under load no canary is sent: that others were answered since the last probe is proof enough. Of a server that
        is not the yard's own it is for a while, and not after a canary that failed until one is answered.
        """
        deadline = time.monotonic() + timeout_s
        if self._trusts_others() and await self._has_answered_others(deadline):
            self._trusted += 1
            return self._shortest_s
        if not self._knows_inputs:
            await self._learn_inputs(deadline)
        start = time.monotonic()
        if self._canary is None:
            await self._ask_readiness(deadline)
            return time.monotonic() - start
        try:
            await self._stub.ModelInfer(self._canary, timeout=_left_s(deadline))
        except aio.AioRpcError as error:
            await self._judge(error, deadline)
        else:
            self._note_answered()
        self._shortest_s = min(self._shortest_s, time.monotonic() - start)
        return self._shortest_s

    def _trusts_others(self) -> bool:
        return self._canary_answered and not (self._counts_canaries and self._trusted >= _MOST_TRUSTED)

    async def _learn_inputs(self, deadline: float) -> None:
        request = service_pb2.ModelMetadataRequest(name=self._spec.model, version=str(self._spec.version))
        try:
            told = await self._stub.ModelMetadata(request, timeout=_left_s(deadline))
        except aio.AioRpcError as error:
            raise CanaryError(f"metadata: {error.code().name}: {error.details()}") from error
        inputs = tuple(TensorSpec(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in told.inputs)
        can_be_made = all(tensor.datatype in BY_NAME for tensor in inputs)
        self._canary = make_canary(replace(self._spec, inputs=inputs), self._token) if can_be_made else None
        self._knows_inputs = True

    def _note_answered(self) -> None:
        self._canary_answered = True
        self._trusted = 0
        if self._counts_canaries and self._answers is not None:
            self._answers += 1

    async def close(self) -> None:
        await self._channel.close()

    async def _has_answered_others(self, deadline: float) -> bool:
        request = service_pb2.ModelStatisticsRequest(name=self._spec.model, version=str(self._spec.version))
        try:
            response = await self._stub.ModelStatistics(request, timeout=_left_s(deadline))
        except aio.AioRpcError:
            return False  # the canary that follows finds out what is wrong
        answers: int = sum(stats.inference_stats.success.count for stats in response.model_stats)
        # Some servers count an answer a moment after they have given it: the canary's must not pass for another's then.
        before, self._answers = self._answers, max(answers, self._answers or 0)
        return before is not None and answers > before

    async def _judge(self, error: aio.AioRpcError, deadline: float) -> None:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED or _FULL_QUEUE in (error.details() or ""):
            self._trusted = 0
            return  # busy, so alive
        # One that waits for its turn behind others' says nothing of the model.
        self._trusted = 0 if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else _MOST_TRUSTED
        if error.code() not in _REFUSALS or self._canary_answered or _DEAD_STUB in (error.details() or ""):
            raise CanaryError(f"canary inference: {error.code().name}: {error.details()}") from error
        await self._fall_back_to_readiness(error, deadline)

    async def _fall_back_to_readiness(self, refusal: aio.AioRpcError, deadline: float) -> None:
        """For a model that cannot make anything of zeros: its server did answer."""
        try:
            await self._ask_readiness(deadline)
        except CanaryError as error:
            raise CanaryError(f"{error}; its canary inference failed: {refusal.details()}") from error
        if not self._refusal_told:
            self._refusal_told = True
            log.warning(
                "%s: %s refuses an inference of zeros, so its probes ask for readiness only: %s",
                self._spec.replica_id,
                self._spec.model_id,
                refusal.details(),
            )

    async def _ask_readiness(self, deadline: float) -> None:
        request = service_pb2.ModelReadyRequest(name=self._spec.model, version=str(self._spec.version))
        try:
            response = await self._stub.ModelReady(request, timeout=_left_s(deadline))
        except aio.AioRpcError as error:
            raise CanaryError(f"readiness: {error.code().name}: {error.details()}") from error
        if not response.ready:
            raise CanaryError("its server says that it is not ready")


def _left_s(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
