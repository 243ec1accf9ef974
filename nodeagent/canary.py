"""Whether a replica answers, asked as a client would: with an inference."""

import logging
import math
import time

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
_LARGEST_CANARY_BYTES = 64 << 20


class CanaryError(Exception):
    """Why a replica counts as not answering, in a sentence."""


def make_canary(spec: ReplicaSpec, token: str) -> service_pb2.ModelInferRequest | None:
    """An inference of zeros, with one for each dimension that varies; strings are empty.

    None where it were large: it would cost this agent that much, and the replica the time, at every probe.
    """
    sizes = [_size_bytes(tensor) for tensor in spec.inputs]
    if sum(sizes) > _LARGEST_CANARY_BYTES:
        return None
    request = service_pb2.ModelInferRequest(model_name=spec.model, model_version=str(spec.version), id=token)
    for tensor, size_bytes in zip(spec.inputs, sizes, strict=True):
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=_shape(tensor))
        request.raw_input_contents.append(bytes(size_bytes))
    return request


def _shape(tensor: TensorSpec) -> list[int]:
    return [1 if size < 0 else size for size in tensor.shape]


def _size_bytes(tensor: TensorSpec) -> int:
    return BY_NAME[tensor.datatype].least_item_bytes * math.prod(_shape(tensor))


class Prober:
    """Probes one process. `token`: what makes a request a probe to its server."""

    def __init__(self, spec: ReplicaSpec, host: str, port: int, max_message_bytes: int, token: str) -> None:
        options = [*message_size_options(max_message_bytes), ("grpc.enable_http_proxy", 0)]
        self._channel = aio.insecure_channel(format_address(host, port), options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._spec = spec
        self._canary = make_canary(spec, token)
        self._canary_answered = False
        self._refusal_told = False
        # Of the server's life, as of the last probe; None: not known yet.
        self._answers: int | None = None
        self._shortest_s = math.inf

    async def probe(self, timeout_s: float) -> float:
        """Seconds that the shortest canary so far took. Raises CanaryError, at the latest after `timeout_s` seconds.

        Under load no canary is sent: that others were answered since the last probe is proof enough.
        """
        deadline = time.monotonic() + timeout_s
        if self._canary_answered and await self._has_answered_others(deadline):
            return self._shortest_s
        start = time.monotonic()
        if self._canary is None:
            await self._ask_readiness(deadline)
            return time.monotonic() - start
        try:
            await self._stub.ModelInfer(self._canary, timeout=_left_s(deadline))
        except aio.AioRpcError as error:
            await self._judge(error, deadline)
        else:
            self._canary_answered = True
        self._shortest_s = min(self._shortest_s, time.monotonic() - start)
        return self._shortest_s

    async def close(self) -> None:
        await self._channel.close()

    async def _has_answered_others(self, deadline: float) -> bool:
        request = service_pb2.ModelStatisticsRequest(name=self._spec.model, version=str(self._spec.version))
        try:
            response = await self._stub.ModelStatistics(request, timeout=_left_s(deadline))
        except aio.AioRpcError:
            return False  # the canary that follows finds out what is wrong
        answers: int = sum(stats.inference_stats.success.count for stats in response.model_stats)
        before, self._answers = self._answers, answers
        return before is not None and answers > before

    async def _judge(self, error: aio.AioRpcError, deadline: float) -> None:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return  # busy, so alive
        if error.code() not in _REFUSALS or self._canary_answered:
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
