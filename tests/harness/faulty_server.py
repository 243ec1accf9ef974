"""A model server that doubles its input until a file `fault` in its folder says how it is to fail.

"silent": it accepts calls and answers none; "stuck": inferences alone are not answered; "errors": each is refused.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

FAULT = Path("fault")


class Server(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    async def ServerLive(self, request: Any, context: Any) -> Any:
        await fail("silent")
        return service_pb2.ServerLiveResponse(live=True)

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        await fail("silent")
        return service_pb2.ModelStatisticsResponse()

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        await fail("silent", "stuck")
        if read_fault() == "errors":
            await context.abort(grpc.StatusCode.INTERNAL, "its weights are gone")
        row = np.frombuffer(request.raw_input_contents[0], np.float32)
        response = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
        response.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        response.raw_output_contents.append((row * 2).tobytes())
        return response


async def fail(*faults: str) -> None:
    """Never returns where its fault is one of these."""
    if read_fault() in faults:
        await asyncio.Event().wait()


def read_fault() -> str:
    return FAULT.read_text() if FAULT.exists() else ""


async def main(host: str, ready_fd: int) -> None:
    server = aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Server(), server)
    port = server.add_insecure_port(f"{host}:0")
    await server.start()
    os.write(ready_fd, b'{"port": %d}\n' % port)
    await server.wait_for_termination()


if __name__ == "__main__":
    FAULT.unlink(missing_ok=True)  # whatever takes the place of a server that failed is well
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
