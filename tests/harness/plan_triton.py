"""A stand-in for a Triton with the TensorRT backend, which only a host with a GPU can run.

It reads the configuration that it is given as Triton does, and completes it as that backend would for an engine of
one input x[-1, 4] and one output y, which it answers twice x.
"""

import argparse
import asyncio
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from grpc import aio
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

_ROOT = Path(__file__).parents[2]
_SHAPE = (-1, 4)


def install(folder: Path) -> Path:
    """Lays it out as Triton's own; returns its program."""
    library = folder / "backends" / "tensorrt" / "libtriton_tensorrt.so"
    library.parent.mkdir(parents=True)
    library.touch()
    program = folder / "bin" / "tritonserver"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={_ROOT} exec {sys.executable} -m {__name__} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, model: str, version: str) -> None:
        self._model, self._version = model, version
        self._answers = 0

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=request.name == self._model)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        response = service_pb2.ModelMetadataResponse(name=self._model, versions=[self._version])
        response.inputs.add(name="x", datatype="FP32", shape=_SHAPE)
        response.outputs.add(name="y", datatype="FP32", shape=_SHAPE)
        return response

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        response = service_pb2.ModelStatisticsResponse()
        response.model_stats.add(name=self._model).inference_stats.success.count = self._answers
        return response

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        rows = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
        response = service_pb2.ModelInferResponse(model_name=self._model, model_version=self._version)
        response.outputs.add(name="y", datatype="FP32", shape=rows.shape)
        response.raw_output_contents.append((rows * 2).tobytes())
        self._answers += 1
        return response


def read_config(repository: Path) -> Any:
    """Of its only model, whose file must be there."""
    (model,) = repository.iterdir()
    config = text_format.Parse((model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    (version,) = config.version_policy.specific.versions
    assert (model / str(version) / "model.plan").read_bytes().startswith(b"ftrt")
    return config


async def serve(flags: argparse.Namespace) -> None:
    config = read_config(Path(flags.model_repository))
    if not config.input and flags.disable_auto_complete_config:
        sys.exit("error: creating server: Internal - model must specify inputs")
    server, stop = aio.server(), asyncio.Event()
    servicer = Servicer(config.name, str(config.version_policy.specific.versions[0]))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"{flags.grpc_address}:{flags.grpc_port}")
    await server.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(5)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("model-repository", "grpc-address", "grpc-port", "allow-grpc"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--disable-auto-complete-config", action="store_true")
    flags, _ = parser.parse_known_args(arguments)
    if flags.allow_grpc == "false":
        print("| server_version | 2.60.0 |", flush=True)
        signal.pause()
    asyncio.run(serve(flags))


if __name__ == "__main__":
    main(sys.argv[1:])
