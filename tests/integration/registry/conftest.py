"""A registry behind a real gRPC server, with its database, files and lineage in a folder."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from controlplane.domain import ModelFormat, Signature, TensorSpec, Version, VersionDraft
from controlplane.registry.opening import Registry, open_registry
from controlplane.servicers.registry import RegistryServicer
from modelyard.grpc_server import create_server
from modelyard.v1 import registry_pb2 as pb
from modelyard.v1 import registry_pb2_grpc, resources_pb2

MAX_MODEL_BYTES = 32 << 20


def now() -> datetime:
    return datetime.now(UTC)


def messages(
    model: str, content: bytes, chunk_bytes: int = 1 << 20, **header: Any
) -> Iterator[pb.CreateVersionRequest]:
    """What a client sends for a file; `header` overrides what is announced."""
    facts = {
        "parent": f"models/{model}",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **header,
    }
    yield pb.CreateVersionRequest(header=pb.CreateVersionRequest.Header(**facts))
    for start in range(0, len(content), chunk_bytes):
        yield pb.CreateVersionRequest(chunk=content[start : start + chunk_bytes])


class Yard:
    """A served registry, and what a caller and an operator can see of it."""

    def __init__(self, registry: Registry, channel: aio.Channel, port: int, folder: Path) -> None:
        self.registry = registry
        self.port = port
        self.stub: Any = registry_pb2_grpc.RegistryServiceStub(channel)
        self.folder = folder
        self.changes = 0

    async def register(self, model: str, content: bytes, **header: Any) -> resources_pb2.Version:
        version: resources_pb2.Version = (await self.stub.CreateVersion(messages(model, content, **header))).version
        return version

    async def put(self, model: str, content: bytes) -> Version:
        """Stores a version without looking at the file, which takes most of a registration's time."""
        sha256 = hashlib.sha256(content).hexdigest()
        async with self.registry.artifacts.begin_upload(len(content)) as upload:
            await upload.write(content)
            await upload.finish(len(content), sha256)
            uri = await self.registry.artifacts.keep(upload.path, sha256, len(content))
        spec = (TensorSpec("x", "FP32", (-1, 3)),)
        facts = VersionDraft(model, ModelFormat.ONNX, uri, sha256, len(content), Signature(spec, spec))
        return self.registry.store.create_version(facts, now())

    async def refused(self, requests: Iterable[pb.CreateVersionRequest]) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(self.send, requests)
        error: Any = caught.value
        return error.code(), error.details()

    def send(self, requests: Iterable[pb.CreateVersionRequest]) -> resources_pb2.Version:
        """By gRPC's blocking client: a write of the other one that meets the end of its call hides the status."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options) as channel:
            stub: Any = registry_pb2_grpc.RegistryServiceStub(channel)
            version: resources_pb2.Version = stub.CreateVersion(iter(requests)).version
            return version

    async def read(self, sha256: str, offset_bytes: int = 0) -> bytes:
        request = pb.ReadArtifactRequest(sha256=sha256, offset_bytes=offset_bytes)
        return b"".join([response.chunk async for response in self.stub.ReadArtifact(request)])

    def stored_files(self) -> list[str]:
        """All below the folder of artifacts, what is on its way in included."""
        root = self.folder / "artifacts"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def incoming_sizes(self) -> list[int]:
        """Of what is on its way in."""
        return [(self.folder / "artifacts" / path).stat().st_size for path in self.stored_files() if "incoming" in path]

    def is_untouched(self) -> bool:
        return self.stored_files() == [] and not self.registry.store.list_models(1, "").items


async def serve(folder: Path, stalled_upload_s: float = 60.0) -> AsyncIterator[Yard]:
    registry = open_registry(folder, now=now, max_model_bytes=MAX_MODEL_BYTES, stalled_upload_s=stalled_upload_s)
    await registry.start()
    server, _ = create_server()
    port = server.add_insecure_port("127.0.0.1:0")
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yard = Yard(registry, channel, port, folder)

        def count_change() -> None:
            yard.changes += 1

        servicer = RegistryServicer(registry, now=now, on_change=count_change)
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, server)
        await server.start()
        yield yard
    await server.stop(5)
    await registry.close()


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async for served in serve(tmp_path / "controller"):
        yield served
