"""A steady load on one model of `write_scale_model`, in which every answer is checked."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc


@dataclass
class LoadResult:
    """`answers`: how often each factor answered. `errors`: status and sentence of what failed, with its count."""

    answers: Counter[float] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.answers.total() + self.errors.total()


class Load:
    """`workers` callers that ask without pause, each waiting for its answer before it asks again."""

    def __init__(
        self, address: str, model: str, *, version: str = "", workers: int = 8, timeout_s: float = 20.0
    ) -> None:
        self.result = LoadResult()
        self._address, self._model, self._version = address, model, version
        self._workers, self._timeout_s = workers, timeout_s
        self._stopped = False

    async def reach(self, requests: int) -> None:
        """Returns once so many requests were made since the start."""
        while self.result.total < requests:
            await asyncio.sleep(0.01)

    async def _work(self, stub: service_pb2_grpc.GRPCInferenceServiceStub, seed: int) -> None:
        row = np.arange(seed + 1, seed + 5, dtype=np.float32)
        request = scale_request(self._model, self._version, row)
        while not self._stopped:
            try:
                response = await stub.ModelInfer(request, timeout=self._timeout_s)
            except grpc.aio.AioRpcError as error:
                self.result.errors[f"{error.code().name}: {error.details()}"] += 1
                await asyncio.sleep(0)
                continue
            factors = np.frombuffer(response.raw_output_contents[0], np.float32) / row
            if np.all(factors == factors[0]):
                self.result.answers[float(factors[0])] += 1
            else:
                self.result.errors[f"mixed answer {factors}"] += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Starts the callers; at the end lets each finish its last request."""
        async with contextlib.AsyncExitStack() as stack:
            tasks = []
            for seed in range(self._workers):
                options = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each caller
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(self._address, options))
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                tasks.append(asyncio.create_task(self._work(stub, seed)))
            try:
                yield self
            finally:
                self._stopped = True
                await asyncio.gather(*tasks)


def scale_request(model: str, version: str, row: np.ndarray) -> service_pb2.ModelInferRequest:
    """A request of one row, FP32."""
    request = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    request.inputs.add(name="x", datatype="FP32", shape=[1, len(row)])
    request.raw_input_contents.append(row.tobytes())
    return request
