"""Model files from the controller."""

import asyncio
from collections.abc import AsyncGenerator

import grpc
from grpc import aio

from modelyard.errors import UnavailableError, from_status
from modelyard.v1 import registry_pb2, registry_pb2_grpc

# A stream that is silent for so long is taken for cut.
_STALL_S = 30.0
_CUTS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


class ControllerSource:
    def __init__(self, channel: aio.Channel) -> None:
        self._registry = registry_pb2_grpc.RegistryServiceStub(channel)

    async def read(self, sha256: str, offset_bytes: int) -> AsyncGenerator[bytes, None]:
        request = registry_pb2.ReadArtifactRequest(sha256=sha256, offset_bytes=offset_bytes)
        call = self._registry.ReadArtifact(request)
        try:
            while True:
                async with asyncio.timeout(_STALL_S):
                    response = await call.read()
                if response is aio.EOF:
                    return
                yield response.chunk
        except TimeoutError:
            raise UnavailableError(f"the controller sent nothing of a model file for {_STALL_S:g} s") from None
        except aio.AioRpcError as error:
            if error.code() in _CUTS:
                raise UnavailableError(f"the controller cannot be read from: {error.details()}") from error
            raise from_status(error.code(), error.details() or "") from error
        finally:
            call.cancel()
