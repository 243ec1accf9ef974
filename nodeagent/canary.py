"""Whether a replica answers, asked as a client would: with an inference."""

import logging
import math
import time

import grpc
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelyard.addresses import format_address
from modelyard.grpc_server import message_size_options
from nodeagent.modelserver.canary_id import CANARY_ID
from nodeagent.replica_spec import ReplicaSpec, TensorSpec

log = logging.getLogger(__name__)

_ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "INT8", "UINT8"), 1),
    **dict.fromkeys(("INT16", "UINT16", "FP16", "BF16"), 2),
    **dict.fromkeys(("INT64", "UINT64", "FP64"), 8),
}
# The model's own answer to zeros, which may mean nothing to it.
_REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)


_LARGEST_CANARY_BYTES = 64 << 20


class CanaryError(Exception):
    """Why a replica counts as not answering, in a sentence."""


def make_canary(spec: ReplicaSpec) -> service_pb2.ModelInferRequest:
    """An inference of zeros, with one for each dimension that varies; strings are empty."""
    request = service_pb2.ModelInferRequest(model_name=spec.model, model_version=str(spec.version), id=CANARY_ID)
    for tensor in spec.inputs:
        shape = [max(size, 1) if size < 0 else size for size in tensor.shape]
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        request.raw_input_contents.append(_zeros(tensor, shape))
    return request


def _canary_bytes(spec: ReplicaSpec) -> int:
    shapes = ([max(size, 1) for size in tensor.shape] for tensor in spec.inputs)
    return sum(4 * math.prod(shape) for shape in shapes)


def _zeros(tensor: TensorSpec, shape: list[int]) -> bytes:
    # 4 bytes are also an empty string: its length, and nothing after it.
    return bytes(_ITEM_BYTES.get(tensor.datatype, 4) * math.prod(shape))


class Prober:
    """Probes one process."""

    def __init__(self, spec: ReplicaSpec, host: str, port: int, max_message_bytes: int) -> None:
        options = [*message_size_options(max_message_bytes), ("grpc.enable_http_proxy", 0)]
        self._channel = aio.insecure_channel(format_address(host, port), options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._spec = spec
        # Zeros of a gigabyte would cost this agent that much, and the replica the time, at every probe.
        self._canary = make_canary(spec) if _canary_bytes(spec) <= _LARGEST_CANARY_BYTES else None
        self._canary_answered = False
        self._refusal_told = False
        # Of the server's life, as of the last probe; None: not known yet.
        self._answers: int | None = None
        self._shortest_s = math.inf

    async def probe(self, timeout_s: float) -> float:
        """Seconds that the shortest canary so far took. Raises CanaryError.

        Under load no canary is sent: that others were answered since the last probe is proof enough.
        """
        if self._canary_answered and await self._has_answered_others(timeout_s):
            return self._shortest_s
        start = time.monotonic()
        if self._canary is None:
            await self._ask_readiness(timeout_s)
            return time.monotonic() - start
        try:
            await self._stub.ModelInfer(self._canary, timeout=timeout_s)
        except aio.AioRpcError as error:
            await self._judge(error, timeout_s)
        else:
            self._canary_answered = True
        self._shortest_s = min(self._shortest_s, time.monotonic() - start)
        return self._shortest_s

    async def close(self) -> None:
        await self._channel.close()

    async def _has_answered_others(self, timeout_s: float) -> bool:
        request = service_pb2.ModelStatisticsRequest(name=self._spec.model, version=str(self._spec.version))
        try:
            response = await self._stub.ModelStatistics(request, timeout=timeout_s)
        except aio.AioRpcError:
            return False  # the canary that follows finds out what is wrong
        answers: int = sum(stats.inference_stats.success.count for stats in response.model_stats)
        before, self._answers = self._answers, answers
        return before is not None and answers > before

    async def _judge(self, error: aio.AioRpcError, timeout_s: float) -> None:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return  # busy, so alive
        if error.code() not in _REFUSALS or self._canary_answered:
            raise CanaryError(f"canary inference: {error.code().name}: {error.details()}") from error
        await self._fall_back_to_readiness(error, timeout_s)

    async def _fall_back_to_readiness(self, refusal: aio.AioRpcError, timeout_s: float) -> None:
        """For a model that cannot make anything of zeros: its server did answer."""
        try:
            await self._ask_readiness(timeout_s)
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

    async def _ask_readiness(self, timeout_s: float) -> None:
        request = service_pb2.ModelReadyRequest(name=self._spec.model, version=str(self._spec.version))
        try:
            response = await self._stub.ModelReady(request, timeout=timeout_s)
        except aio.AioRpcError as error:
            raise CanaryError(f"readiness: {error.code().name}: {error.details()}") from error
        if not response.ready:
            raise CanaryError("its server says that it is not ready")
