"""A KServe v2 server in this process that answers as each test says."""

import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc


class Server(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Echoes each input as an output of its name. `failures`: (status, sentence, trailers) of the next calls."""

    def __init__(self) -> None:
        self.address = ""
        self.failures: list[tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]] = []
        self.calls: list[str] = []
        self.requests: list[Any] = []
        self.headers: list[dict[str, Any]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def _enter(self, name: str, request: Any, context: grpc.ServicerContext) -> None:
        self.calls.append(name)
        self.requests.append(request)
        self.headers.append(dict(context.invocation_metadata()))
        self.may_answer.wait(60)
        if self.failures:
            code, sentence, trailers = self.failures.pop(0)
            context.set_trailing_metadata(trailers)
            context.abort(code, sentence)

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._enter("ModelInfer", request, context)
        wanted = {output.name for output in request.outputs}
        reply = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            if not wanted or tensor.name in wanted:
                reply.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
                reply.raw_output_contents.append(raw)
        return reply

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._enter("ModelMetadata", request, context)
        reply = service_pb2.ModelMetadataResponse(name=request.name, versions=["1"], platform="onnxruntime_onnx")
        reply.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
        reply.inputs.add(name="text", datatype="BYTES", shape=[-1])
        return reply

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._enter("ModelReady", request, context)
        return service_pb2.ModelReadyResponse(ready=True)

    def ServerReady(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._enter("ServerReady", request, context)
        return service_pb2.ServerReadyResponse(ready=True)

    def RepositoryIndex(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._enter("RepositoryIndex", request, context)
        reply = service_pb2.RepositoryIndexResponse()
        reply.models.add(name="resnet", version="1", state="READY")
        return reply


@pytest.fixture
def server() -> Iterator[Server]:
    servicer = Server()
    running = grpc.server(
        futures.ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, running)
    servicer.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()
    yield servicer
    running.stop(None).wait()
