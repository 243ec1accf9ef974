"""The least that serves a model over KServe v2 in Python, for a comparison: grpc.aio and onnxruntime, nothing else.

It checks nothing, counts nothing, drains nothing, and hears nobody while it computes, for it computes on the event
loop: that is the fastest way that grpc.aio has.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

import grpc.aio
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from benchmarks.model_server_models import bare_session

_TYPES = {"FP32": np.float32, "INT32": np.int32}
_MOST_BYTES = 64 << 20


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, session: Any) -> None:
        self._session = session
        self._output = session.get_outputs()[0].name

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ModelReadyResponse(ready=True)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        feeds = {
            tensor.name: np.frombuffer(raw, _TYPES[tensor.datatype]).reshape(tensor.shape)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        [output] = self._session.run([self._output], feeds)
        response = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
        response.outputs.add(name=self._output, datatype="FP32", shape=output.shape)
        response.raw_output_contents.append(output.tobytes())
        return response


async def serve(file: Path, threads: int) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", _MOST_BYTES)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(bare_session(file, threads)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
