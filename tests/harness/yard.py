"""A whole yard of real programs on free ports, each of which a test can kill and start again."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import psutil

from modelyard.v1 import (
    deployments_pb2,
    deployments_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
    resources_pb2,
)
from tests.harness.held_port import hold_port
from tests.harness.programs import Program, find_users, wait_for

CHUNK_BYTES = 1 << 20


class Yard:
    """Controller, one agent, one router. `address`: where clients reach the router."""

    def __init__(self, folder: Path, *, agent_options: tuple[str, ...] = (), agent_module: str = "nodeagent") -> None:
        self.folder = folder
        # Started again, each must come back where the others look for it.
        self._ports = hold_port(), hold_port()
        address, self.address = (f"127.0.0.1:{port.getsockname()[1]}" for port in self._ports)
        self.controller = self._program("controlplane", "controller", ["--listen", address])
        self.controller.start()
        self.agent = self._program(
            agent_module, "agent",
            ["--controller", address, "--node", "local", "--replicas-per-core", "8", *agent_options],
        )  # fmt: skip
        self.router = self._program("router", "router", ["--controller", address, "--listen", self.address])
        self.agent.start()
        self.router.start()
        self._channel = grpc.insecure_channel(address)
        self.registry = registry_pb2_grpc.RegistryServiceStub(self._channel)
        self.deployments = deployments_pb2_grpc.DeploymentServiceStub(self._channel)
        self.cluster = deployments_pb2_grpc.ClusterServiceStub(self._channel)

    def _program(self, module: str, name: str, arguments: list[str]) -> Program:
        arguments = [*arguments, "--data", str(self.folder / name)]
        return Program(module, arguments, self.folder / f"{name}.log")

    def register(self, model: str, path: Path) -> int:
        """The new version's number."""
        content = path.read_bytes()
        header = registry_pb2.CreateVersionRequest.Header(
            parent=f"models/{model}", size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )

        def messages() -> Iterator[registry_pb2.CreateVersionRequest]:
            yield registry_pb2.CreateVersionRequest(header=header)
            for start in range(0, len(content), CHUNK_BYTES):
                yield registry_pb2.CreateVersionRequest(chunk=content[start : start + CHUNK_BYTES])

        return int(self.registry.CreateVersion(messages(), timeout=60).version.number)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        request = registry_pb2.SetAliasRequest(name=f"models/{model}/aliases/{alias}", version=version)
        self.registry.SetAlias(request, timeout=30)

    def deploy(
        self,
        model: str,
        alias: str = "production",
        *,
        replicas: int = 1,
        no_retries: bool = False,
        serving: resources_pb2.Serving | None = None,
    ) -> None:
        name = f"models/{model}/deployments/{alias}"
        deployment = resources_pb2.Deployment(
            name=name, replicas=replicas, threads=1, no_retries=no_retries, serving=serving
        )
        request = deployments_pb2.UpdateDeploymentRequest(deployment=deployment, allow_missing=True)
        self.deployments.UpdateDeployment(request, timeout=30)

    def undeploy(self, model: str, alias: str = "production") -> None:
        name = f"models/{model}/deployments/{alias}"
        self.deployments.DeleteDeployment(deployments_pb2.DeleteDeploymentRequest(name=name), timeout=30)

    def status(self, model: str, alias: str = "production") -> resources_pb2.DeploymentStatus:
        name = f"models/{model}/deployments/{alias}"
        response = self.deployments.GetDeployment(deployments_pb2.GetDeploymentRequest(name=name), timeout=30)
        status: resources_pb2.DeploymentStatus = response.deployment.status
        return status

    def replicas(self, model: str) -> list[resources_pb2.Replica]:
        request = deployments_pb2.ListReplicasRequest(parent=f"models/{model}")
        return list(self.cluster.ListReplicas(request, timeout=30).replicas)

    def wait_serving(self, model: str, alias: str = "production", *, version: int, replicas: int) -> None:
        """Until exactly `replicas` of `version` are ready, and every router follows that."""

        def done() -> bool:
            status = self.status(model, alias)
            if (status.serving_version, status.ready_replicas) != (version, replicas):
                return False
            mine = [r for r in self.replicas(model) if r.alias == alias]
            return len(mine) == replicas and self._routers_are_current()

        try:
            wait_for(done, f"{replicas} replicas of {model}@{version}", 60)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{self.status(model, alias)}\n{self.replicas(model)}\n{self.logs()}"
            ) from None

    def _routers_are_current(self) -> bool:
        status = self.cluster.GetStatus(deployments_pb2.GetStatusRequest(), timeout=30)
        return bool(status.routers) and all(
            r.connected and r.applied_version == status.route_table_version for r in status.routers
        )

    def logs(self) -> str:
        programs = (self.controller, self.agent, self.router)
        return "\n".join(f"--- {p.module}\n{p.log_tail()}" for p in programs)

    def processes(self) -> list[psutil.Process]:
        """Every process that works on this yard's folder, however it was started."""
        return find_users(self.folder)

    def processes_left(self) -> list[psutil.Process]:
        """Those that are there after some seconds: what was killed last dies when a busy host has the time for it."""
        end = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def close(self) -> None:
        """Stops everything as a person would; then nothing may be left. Raises AssertionError where something is."""
        self._channel.close()
        for program in (self.router, self.agent, self.controller):
            program.stop()
        for port in self._ports:
            port.close()
        left = self.processes_left()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert not left, f"left behind: {left}\n{self.logs()}"


def replica_pid(yard: Yard, replica: resources_pb2.Replica) -> int:
    """The process that listens on the replica's port."""
    port = int(replica.address.rpartition(":")[2])
    find: Callable[[], int | None] = lambda: _listener_pid(yard.processes(), port)  # noqa: E731
    return int(wait_for(find, f"a listener on {port}"))


def _listener_pid(processes: list[psutil.Process], port: int) -> int | None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp")):
                return process.pid
    return None
