"""A controller in this process that keeps what commands send it and answers as each test says."""

import hashlib
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
    """`statuses`: what GetDeployment tells, one a call, the last one for ever."""

    def __init__(self) -> None:
        self.address = ""
        self.versions: list[Any] = []
        self.aliases: list[Any] = []
        self.deployments: dict[str, Any] = {}
        self.statuses: list[Any] = []
        self.replicas: list[list[Any]] = [[]]
        self.updates: list[Any] = []

    def CreateVersion(self, requests: Any, context: grpc.ServicerContext) -> Any:
        header = next(requests).header
        content = b"".join(request.chunk for request in requests)
        assert hashlib.sha256(content).hexdigest() == header.sha256 and len(content) == header.size_bytes
        for version in self.versions:
            if version.sha256 == header.sha256:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{version.model_id} has exactly these bytes already")
        model, number = header.parent.removeprefix("models/"), len(self.versions) + 1
        version = resources_pb2.Version(
            name=f"{header.parent}/versions/{number}", model_id=f"{model}@{number}", model=model, number=number,
            sha256=header.sha256, size_bytes=header.size_bytes, description=header.description, user=header.user,
            metrics=header.metrics, parameters=header.parameters, tags=header.tags,
        )  # fmt: skip
        self.versions.append(version)
        return registry_pb2.CreateVersionResponse(version=version)

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

    def GetStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        node = resources_pb2.Node(node="local", connected=True)
        router = deployments_pb2.GetStatusResponse.Router(router_id="local", address="127.0.0.1:8001", connected=True)
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
