"""ClusterService: what there is to serve with, and how it is."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from controlplane.clock import Clock
from controlplane.domain import Author, DeploymentKey, NodeScheduling, Replica, Schedulability
from controlplane.policy.decision import Decision
from controlplane.policy.observations import Observations
from controlplane.policy.placement import compute_rooms
from controlplane.reconcilers.reconciler import Reconciler
from controlplane.registry.announcement import check_reason, check_user
from controlplane.registry.store import StateStore
from controlplane.servicers.cluster_converters import (
    deployment_to_proto,
    node_to_proto,
    replica_to_proto,
    router_to_proto,
)
from modelyard.errors import InvalidArgumentError, NotFoundError
from modelyard.resource_names import parse_deployment_name, parse_model_name
from modelyard.uninterrupted import run_to_end
from modelyard.v1 import deployments_pb2 as pb
from modelyard.v1 import deployments_pb2_grpc, resources_pb2

_STATES = {pb_state: Schedulability[name] for name, pb_state in resources_pb2.NodeScheduling.State.items() if pb_state}


class ClusterServicer(deployments_pb2_grpc.ClusterServiceServicer):
    """`on_change` is called after each change, in the event loop."""

    def __init__(self, store: StateStore, reconciler: Reconciler, clock: Clock, on_change: Callable[[], None]) -> None:
        self._store = store
        self._reconciler = reconciler
        self._clock = clock
        self._on_change = on_change

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        return pb.ListNodesResponse(nodes=_list_nodes(await self._reconciler.read()))

    async def UpdateNodeScheduling(
        self, request: pb.UpdateNodeSchedulingRequest, context: Any
    ) -> pb.UpdateNodeSchedulingResponse:
        check_user(request.user)
        check_reason(request.reason)
        state = _STATES.get(request.state)
        if state is None:
            raise InvalidArgumentError(f"{request.state} is no state of a node: wanted {', '.join(Schedulability)}")
        name = await self._find_node(request.name)
        author = Author(self._clock(), request.user, request.reason)
        await run_to_end(asyncio.to_thread(self._store.put_scheduling, NodeScheduling(name, state, author)))
        self._on_change()
        nodes = _list_nodes(await self._reconciler.read())
        found = next((node for node in nodes if node.node == name), resources_pb2.Node(name=request.name, node=name))
        return pb.UpdateNodeSchedulingResponse(node=found)

    async def _find_node(self, resource: str) -> str:
        """One that is away can be cordoned, too. Raises NotFoundError with the nodes that there are."""
        decision = await self._reconciler.read()
        known = {*decision.after.nodes, *decision.after.stored.scheduling}
        known |= {replica.node for replica in decision.after.stored.replicas.values()}
        name = resource.removeprefix("nodes/")
        if not resource.startswith("nodes/") or name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "there is none"
            raise NotFoundError(f"there is no node {name[:253]!r}; {there}")
        return name

    async def ListReplicas(self, request: pb.ListReplicasRequest, context: Any) -> pb.ListReplicasResponse:
        belongs = _parse_parent(request.parent)
        return pb.ListReplicasResponse(replicas=_list_replicas(await self._reconciler.read(), belongs))

    async def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:
        decision = await self._reconciler.read()
        deployments = decision.after.stored.deployments
        return pb.GetStatusResponse(
            route_table_version=decision.table.version,
            routers=[router_to_proto(router) for router in decision.after.routers.values()],
            nodes=_list_nodes(decision),
            deployments=[deployment_to_proto(deployments[key], decision.statuses[key]) for key in sorted(deployments)],
            replicas=_list_replicas(decision, lambda _: True),
        )


def _parse_parent(parent: str) -> Callable[[Replica], bool]:
    """Which replicas belong to it. Raises InvalidArgumentError."""
    if not parent:
        return lambda _: True
    if parent.count("/") == 1:
        model = parse_model_name(parent)
        return lambda replica: replica.model == model
    key = DeploymentKey(*parse_deployment_name(parent))
    return lambda replica: replica.deployment == key


def _list_nodes(decision: Decision) -> list[resources_pb2.Node]:
    counts = Counter(replica.node for replica in decision.after.stored.replicas.values())
    return [node_to_proto(room, counts[room.node.name]) for room in compute_rooms(decision.after)]


def _list_replicas(decision: Decision, belongs: Callable[[Replica], bool]) -> list[resources_pb2.Replica]:
    observations, nodes = Observations(decision.after), decision.after.nodes
    replicas = sorted(decision.after.stored.replicas.values(), key=lambda r: (r.deployment, r.version, r.replica_id))
    return [replica_to_proto(r, nodes.get(r.node), observations) for r in replicas if belongs(r)]
