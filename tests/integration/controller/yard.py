"""The real controller as a process, and stubs to talk to it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpc import aio

from modelyard.v1 import (
    deployments_pb2,
    deployments_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
    resources_pb2,
)
from tests.harness.held_port import hold_port
from tests.harness.models import write_scale_model
from tests.harness.programs import Program
from tests.integration.controller.fakes import WAIT_S

RESNET = "models/resnet/deployments/production"


class ControllerUnderTest:
    """`connect` gives stubs; the process may be killed and started again, on the same address."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self.program = self._make("127.0.0.1:0")

    def _make(self, listen: str) -> Program:
        arguments = ["--listen", listen, "--data", str(self._folder / "data"), *self._options]
        return Program("controlplane", arguments, self._folder / "controller.log")

    async def start(self) -> None:
        await asyncio.to_thread(self.program.start)

    @property
    def address(self) -> str:
        return str(self.program.facts["address"])

    async def restart(self) -> None:
        """After `kill`, where it listened before."""
        with hold_port(int(self.address.rpartition(":")[2])):
            self.program = self._make(self.address)
            await self.start()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["Stubs"]:
        options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.use_local_subchannel_pool", 1)]
        async with aio.insecure_channel(self.address, options=options) as channel:
            yield Stubs(channel, self._folder)


class Stubs:
    def __init__(self, channel: aio.Channel, folder: Path) -> None:
        self.channel = channel
        self._folder = folder
        self.registry: Any = registry_pb2_grpc.RegistryServiceStub(channel)
        self.deployments: Any = deployments_pb2_grpc.DeploymentServiceStub(channel)
        self.cluster: Any = deployments_pb2_grpc.ClusterServiceStub(channel)

    async def register(self, model: str = "resnet", factor: float = 1.0) -> int:
        """The number of the new version."""
        path = write_scale_model(self._folder / f"{model}-{factor}.onnx", factor)
        content = await asyncio.to_thread(path.read_bytes)
        header = registry_pb2.CreateVersionRequest.Header(
            parent=f"models/{model}", size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        requests = [
            registry_pb2.CreateVersionRequest(header=header),
            registry_pb2.CreateVersionRequest(chunk=content),
        ]
        response = await self.registry.CreateVersion(iter(requests))
        return int(response.version.number)

    async def set_alias(self, number: int, model: str = "resnet", alias: str = "production") -> None:
        request = registry_pb2.SetAliasRequest(name=f"models/{model}/aliases/{alias}", version=number)
        await self.registry.SetAlias(request)

    async def deploy(self, *mask: str, name: str = RESNET, **fields: Any) -> resources_pb2.Deployment:
        request = deployments_pb2.UpdateDeploymentRequest(
            deployment=resources_pb2.Deployment(name=name, **fields), allow_missing=True
        )
        request.update_mask.paths.extend(mask)
        response = await self.deployments.UpdateDeployment(request)
        deployment: resources_pb2.Deployment = response.deployment
        return deployment

    async def status(self) -> deployments_pb2.GetStatusResponse:
        response: deployments_pb2.GetStatusResponse = await self.cluster.GetStatus(deployments_pb2.GetStatusRequest())
        return response

    async def deployment(self, name: str = RESNET) -> resources_pb2.Deployment:
        response = await self.deployments.GetDeployment(deployments_pb2.GetDeploymentRequest(name=name))
        deployment: resources_pb2.Deployment = response.deployment
        return deployment


async def eventually(condition: Callable[[], Awaitable[Any]]) -> None:
    """Asks again and again until it is true. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_S):
        while not await condition():
            await asyncio.sleep(0.02)
