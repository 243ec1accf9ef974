"""ClusterService: what there is to serve with, and how it is."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from controlplane.domain import DeploymentKey, Replica
from controlplane.policy.decision import Decision
from controlplane.policy.observations import Observations
from controlplane.policy.placement import compute_rooms
from controlplane.reconcilers.reconciler import Reconciler
from controlplane.servicers.cluster_converters import (
    deployment_to_proto,
    node_to_proto,
    replica_to_proto,
    router_to_proto,
)
from modelyard.resource_names import parse_deployment_name, parse_model_name
from modelyard.v1 import deployments_pb2 as pb
from modelyard.v1 import deployments_pb2_grpc, resources_pb2


class ClusterServicer(deployments_pb2_grpc.ClusterServiceServicer):
    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    async def ListNodes(self, request: pb.ListNodesRequest, context: Any) -> pb.ListNodesResponse:
        return pb.ListNodesResponse(nodes=_list_nodes(await self._reconciler.read()))

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
