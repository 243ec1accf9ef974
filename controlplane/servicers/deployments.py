"""DeploymentService: what is to be served."""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from controlplane.clock import Clock
from controlplane.domain import Author, Deployment, DeploymentKey
from controlplane.reconcilers.reconciler import Reconciler
from controlplane.registry.announcement import check_reason, check_user
from controlplane.registry.store import StateStore
from controlplane.servicers.cluster_converters import deployment_to_proto
from modelyard.errors import InvalidArgumentError, NotFoundError
from modelyard.resource_names import parse_deployment_name, parse_model_name
from modelyard.uninterrupted import run_to_end
from modelyard.v1 import deployments_pb2 as pb
from modelyard.v1 import deployments_pb2_grpc, resources_pb2

# Fields that can be set, with the least and the largest value of those that are numbers.
_RANGES = {
    "replicas": (0, 1000),
    "threads": (1, 1024),
    "memory_bytes": (0, 2**62),
    "gpu_percent": (0, 100),
    "gpu_memory_bytes": (0, 2**62),
    "serving.max_batch_rows": (0, 1 << 20),
    "serving.max_batch_wait_us": (0, 10_000_000),
}
_FIELDS = (*_RANGES, "no_retries", "serving.runtime")
_RUNTIME = re.compile(r"[a-z0-9-]{0,100}")


class DeploymentServicer(deployments_pb2_grpc.DeploymentServiceServicer):
    """`on_change` is called after each change, in the event loop."""

    def __init__(self, store: StateStore, reconciler: Reconciler, clock: Clock, on_change: Callable[[], None]) -> None:
        self._store = store
        self._on_change = on_change
        self._reconciler = reconciler
        self._clock = clock
        # Reading, changing some fields and writing is one step: two callers must not undo each other's.
        self._writing = asyncio.Lock()

    async def UpdateDeployment(self, request: pb.UpdateDeploymentRequest, context: Any) -> pb.UpdateDeploymentResponse:
        key = DeploymentKey(*parse_deployment_name(request.deployment.name))
        changes = _parse_changes(request)
        author = self._make_author(request)
        # To its end, whatever becomes of the caller: the lock must not open while a thread still writes.
        await run_to_end(self._put(key, changes, author, request.allow_missing))
        return pb.UpdateDeploymentResponse(deployment=await self._describe(key))

    async def _put(self, key: DeploymentKey, changes: dict[str, Any], author: Author, allow_missing: bool) -> None:
        async with self._writing:
            current = await self._find(key, allow_missing)
            changed = _check_whole(_change(current, changes))
            await asyncio.to_thread(self._store.put_deployment, changed, author)
        self._on_change()

    async def _find(self, key: DeploymentKey, allow_missing: bool) -> Deployment:
        try:
            return await asyncio.to_thread(self._store.get_deployment, key)
        except NotFoundError:
            if not allow_missing:
                raise
            return Deployment(key.model, key.alias)

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Any) -> pb.GetDeploymentResponse:
        key = DeploymentKey(*parse_deployment_name(request.name))
        return pb.GetDeploymentResponse(deployment=await self._describe(key))

    async def _describe(self, key: DeploymentKey) -> resources_pb2.Deployment:
        decision = await self._reconciler.read()
        deployment = decision.after.stored.deployments.get(key)
        if deployment is None:
            # The store knows which names are near; where it was made just now, this call fails like an earlier one.
            await asyncio.to_thread(self._store.get_deployment, key)
            raise NotFoundError(f"there is no deployment of {key.model!r} by its alias {key.alias!r}")
        return deployment_to_proto(deployment, decision.statuses[key])

    async def ListDeployments(self, request: pb.ListDeploymentsRequest, context: Any) -> pb.ListDeploymentsResponse:
        model = parse_model_name(request.parent) if request.parent else ""
        decision = await self._reconciler.read()
        stored = decision.after.stored.deployments
        listed = [
            deployment_to_proto(stored[key], decision.statuses[key])
            for key in sorted(stored)
            if model in ("", key.model)
        ]
        return pb.ListDeploymentsResponse(deployments=listed)

    async def DeleteDeployment(self, request: pb.DeleteDeploymentRequest, context: Any) -> pb.DeleteDeploymentResponse:
        key = DeploymentKey(*parse_deployment_name(request.name))
        author = self._make_author(request)
        await run_to_end(self._delete(key, author))
        return pb.DeleteDeploymentResponse()

    async def _delete(self, key: DeploymentKey, author: Author) -> None:
        async with self._writing:
            await asyncio.to_thread(self._store.delete_deployment, key, author)
        self._on_change()
        self._reconciler.wake()

    def _make_author(self, request: pb.UpdateDeploymentRequest | pb.DeleteDeploymentRequest) -> Author:
        check_user(request.user)
        check_reason(request.reason)
        return Author(self._clock(), request.user, request.reason)


def _parse_changes(request: pb.UpdateDeploymentRequest) -> dict[str, Any]:
    """Which fields to set to what, by path. Raises InvalidArgumentError."""
    wished = request.deployment
    paths = _expand(request.update_mask.paths) or [path for path in _FIELDS if _read(wished, path)]
    unknown = sorted(set(paths) - set(_FIELDS))
    if unknown:
        raise InvalidArgumentError(f"update_mask names {', '.join(unknown)}: it may name {', '.join(_FIELDS)}")
    changes = {path: _read(wished, path) for path in paths}
    for path, value in changes.items():
        least, largest = _RANGES.get(path, (value, value))
        if not least <= value <= largest:
            raise InvalidArgumentError(f"{path} is {value}: wanted {least} to {largest}")
    runtime = changes.get("serving.runtime", "")
    if not _RUNTIME.fullmatch(runtime):
        raise InvalidArgumentError(f"{runtime[:100]!r} is no runtime: wanted one that `modelyard node show HOST` lists")
    return changes


def _expand(paths: Iterable[str]) -> list[str]:
    """A mask that names a message means all of it."""
    expanded: list[str] = []
    for path in paths:
        expanded += [field for field in _FIELDS if field.startswith(f"{path}.")] or [path]
    return expanded


def _read(deployment: resources_pb2.Deployment, path: str) -> Any:
    value: Any = deployment
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _change(deployment: Deployment, changes: dict[str, Any]) -> Deployment:
    serving = {path.removeprefix("serving."): value for path, value in changes.items() if path.startswith("serving.")}
    own = {path: value for path, value in changes.items() if "." not in path}
    if own.get("gpu_percent") == 0:
        own = {"gpu_memory_bytes": 0, **own}  # it has none without a GPU
    return replace(deployment, **own, serving=replace(deployment.serving, **serving))


def _check_whole(deployment: Deployment) -> Deployment:
    """The deployment itself. Raises InvalidArgumentError for what would do nothing."""
    if deployment.gpu_memory_bytes and not deployment.gpu_percent:
        raise InvalidArgumentError(
            f"gpu_memory_bytes is {deployment.gpu_memory_bytes} and gpu_percent is 0: "
            "set gpu_percent as well, 100 for a whole GPU (--gpu-share 100)"
        )
    return deployment
