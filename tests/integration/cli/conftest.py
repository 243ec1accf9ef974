"""A controller in this process that keeps what commands send it and answers as each test says."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from modelyard.v1 import deployments_pb2, deployments_pb2_grpc, registry_pb2, registry_pb2_grpc, resources_pb2


class FakeController(
    registry_pb2_grpc.RegistryServiceServicer,  # type: ignore[misc]
    deployments_pb2_grpc.DeploymentServiceServicer,  # type: ignore[misc]
    deployments_pb2_grpc.ClusterServiceServicer,  # type: ignore[misc]
):
    """`statuses`: what GetDeployment tells, one a call, the last one for ever.

    `cuts`: after how many messages each stream is cut off, in turn; those after them are not.
    `lost_answers`: so many registrations, the first, are cut off once the version is there.
    `nodes`: what ListNodes tells. `yards`: what GetStatus tells, one a call, the last one for ever; None: not now.
    `pause_after`: after so many megabytes an upload or a fetch stands still (`paused`) until `resume`.
    """

    def __init__(self) -> None:
        self.address = ""
        self.versions: list[Any] = []
        self.aliases: list[Any] = []
        self.deployments: dict[str, Any] = {}
        self.statuses: list[Any] = []
        self.replicas: list[list[Any]] = [[]]
        self.updates: list[Any] = []
        self.nodes: list[Any] = []
        self.scheduled: list[Any] = []
        self.yards: list[Any] = [self.make_yard()]
        self.headers: list[Any] = []
        self.arrived: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.lost_answers = 0
        self.pause_after: int | None = None
        self.paused, self.resume = threading.Event(), threading.Event()

    def FindUpload(self, request: Any, context: grpc.ServicerContext) -> Any:
        is_stored = any(version.sha256 == request.sha256 for version in self.versions)
        kept = 0 if is_stored else len(self.arrived.get(request.sha256, b""))
        return registry_pb2.FindUploadResponse(offset_bytes=kept, is_stored=is_stored)

    def CreateVersion(self, requests: Any, context: grpc.ServicerContext) -> Any:
        header = next(requests).header
        self.headers.append(header)
        if header.offset_bytes != header.size_bytes:
            self._receive(header, requests, context)
        content = self.arrived[header.sha256]
        assert hashlib.sha256(content).hexdigest() == header.sha256 and len(content) == header.size_bytes
        for version in self.versions:
            if version.model != header.parent.removeprefix("models/"):
                continue
            if version.sha256 == header.sha256:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{version.model_id} has exactly these bytes already")
        model, number = header.parent.removeprefix("models/"), len(self.versions) + 1
        version = resources_pb2.Version(
            name=f"{header.parent}/versions/{number}", model_id=f"{model}@{number}", model=model, number=number,
            sha256=header.sha256, size_bytes=header.size_bytes, description=header.description, user=header.user,
            metrics=header.metrics, parameters=header.parameters, tags=header.tags,
        )  # fmt: skip
        self.versions.append(version)
        if self.lost_answers:
            self.lost_answers -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return registry_pb2.CreateVersionResponse(version=version)

    def _receive(self, header: Any, requests: Any, context: grpc.ServicerContext) -> None:
        kept = self.arrived.get(header.sha256, b"")[: header.offset_bytes]
        assert len(kept) == header.offset_bytes
        left = self.cuts.pop(0) if self.cuts else None
        for request in requests:
            if left == 0:
                context.abort(grpc.StatusCode.UNAVAILABLE, "recvmsg: Connection reset by peer")
            kept += request.chunk
            self.arrived[header.sha256] = kept
            self._pause(len(kept))
            left = None if left is None else left - 1

    def _pause(self, done_bytes: int) -> None:
        if self.pause_after is not None and done_bytes >> 20 == self.pause_after:
            self.paused.set()
            self.resume.wait()

    def GetVersion(self, request: Any, context: grpc.ServicerContext) -> Any:
        found = [version for version in self.versions if version.name == request.name]
        if not found:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no {request.name}")
        return registry_pb2.GetVersionResponse(version=found[0])

    def ReadArtifact(self, request: Any, context: grpc.ServicerContext) -> Any:
        """A kilobyte a message."""
        content, left = self.arrived[request.sha256], self.cuts.pop(0) if self.cuts else None
        for start in range(request.offset_bytes, len(content), 1024):
            if left == 0:
                context.abort(grpc.StatusCode.UNAVAILABLE, "recvmsg: Connection reset by peer")
            self._pause(start)
            yield registry_pb2.ReadArtifactResponse(chunk=content[start : start + 1024])
            left = None if left is None else left - 1

    def ListVersions(self, request: Any, context: grpc.ServicerContext) -> Any:
        """A version a page."""
        start = int(request.page_token or 0)
        newest = [version for version in self.versions[::-1] if f"models/{version.model}" == request.parent]
        token = str(start + 1) if start + 1 < len(newest) else ""
        return registry_pb2.ListVersionsResponse(versions=newest[start : start + 1], next_page_token=token)

    def ListModels(self, request: Any, context: grpc.ServicerContext) -> Any:
        model = resources_pb2.Model(name="models/resnet", model="resnet", latest_version=2, aliases=self.aliases)
        return registry_pb2.ListModelsResponse(models=[model])

    def GetModel(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.name != "models/resnet":
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no model {request.name.removeprefix('models/')!r}")
        return registry_pb2.GetModelResponse(model=resources_pb2.Model(model="resnet", aliases=self.aliases))

    def SetAlias(self, request: Any, context: grpc.ServicerContext) -> Any:
        _, model, _, alias = request.name.split("/")
        moved = resources_pb2.Alias(
            name=request.name, model=model, alias=alias, version=request.version, reason=request.reason
        )
        self.aliases.append(moved)
        return registry_pb2.SetAliasResponse(alias=moved)

    def DeleteAlias(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a deployment serves it: undeploy it first")

    def UpdateDeployment(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.updates.append(request)
        self.deployments[request.deployment.name] = request.deployment
        return deployments_pb2.UpdateDeploymentResponse(deployment=request.deployment)

    def GetDeployment(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.name not in self.deployments:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.name} is not deployed")
        deployment = self.deployments[request.name]
        if self.statuses:
            deployment.status.CopyFrom(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        return deployments_pb2.GetDeploymentResponse(deployment=deployment)

    def DeleteDeployment(self, request: Any, context: grpc.ServicerContext) -> Any:
        return deployments_pb2.DeleteDeploymentResponse()

    def ListReplicas(self, request: Any, context: grpc.ServicerContext) -> Any:
        replicas = self.replicas.pop(0) if len(self.replicas) > 1 else self.replicas[0]
        return deployments_pb2.ListReplicasResponse(replicas=replicas)

    def ListNodes(self, request: Any, context: grpc.ServicerContext) -> Any:
        return deployments_pb2.ListNodesResponse(nodes=self.nodes)

    def UpdateNodeScheduling(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.scheduled.append(request)
        scheduling = resources_pb2.NodeScheduling(state=request.state, user=request.user, reason=request.reason)
        node = resources_pb2.Node(node=request.name.removeprefix("nodes/"), replicas=2, scheduling=scheduling)
        return deployments_pb2.UpdateNodeSchedulingResponse(node=node)

    def GetStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        found = self.yards.pop(0) if len(self.yards) > 1 else self.yards[0]
        if found is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "it is being started anew")
        return found

    @staticmethod
    def make_yard(applied_version: int = 7, **more: Any) -> Any:
        node = resources_pb2.Node(node="local", connected=True)
        told = {"router_id": "local", "address": "127.0.0.1:8001", "connected": True, **more}
        router = deployments_pb2.GetStatusResponse.Router(applied_version=applied_version, **told)
        return deployments_pb2.GetStatusResponse(route_table_version=7, routers=[router], nodes=[node])


@pytest.fixture
def controller() -> Iterator[FakeController]:
    servicer = FakeController()
    running = grpc.server(futures.ThreadPoolExecutor(4))
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, running)
    deployments_pb2_grpc.add_DeploymentServiceServicer_to_server(servicer, running)
    deployments_pb2_grpc.add_ClusterServiceServicer_to_server(servicer, running)
    servicer.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()
    yield servicer
    running.stop(None).wait()
