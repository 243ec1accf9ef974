"""ClusterService: what there is to serve with, and how it is."""

from collections.abc import Callable
from typing import Any

from controlplane.clock import Clock
from controlplane.domain import DeploymentKey, Replica
from controlplane.policy.decision import Decision
from controlplane.policy.observations import Observations
from controlplane.reconcilers.reconciler import Reconciler
from controlplane.registry.store import StateStore
from controlplane.servicers.cluster_converters import deployment_to_proto, replica_to_proto, router_to_proto
from controlplane.servicers.cluster_logs import ReplicaLogs
from controlplane.servicers.cluster_nodes import ClusterNodes, list_nodes
from controlplane.sessions.logs import LogRelays
from controlplane.sessions.nodes import NodeSessions
from modelyard.resource_names import parse_deployment_name, parse_model_name
from modelyard.v1 import deployments_pb2 as pb
from modelyard.v1 import deployments_pb2_grpc, resources_pb2


class ClusterServicer(ClusterNodes, ReplicaLogs, deployments_pb2_grpc.ClusterServiceServicer):
    """`on_change` is called after each change, in the event loop."""

    def __init__(
        self,
        store: StateStore,
        reconciler: Reconciler,
        clock: Clock,
        *,
        on_change: Callable[[], None],
        nodes: NodeSessions,
        logs: LogRelays,
    ) -> None:
        ClusterNodes.__init__(self, store, reconciler, clock, on_change)
        ReplicaLogs.__init__(self, reconciler, nodes, logs)

    async def ListReplicas(self, request: pb.ListReplicasRequest, context: Any) -> pb.ListReplicasResponse:
        belongs = _parse_parent(request.parent)
        return pb.ListReplicasResponse(replicas=_list_replicas(await self._reconciler.read(), belongs))

    async def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:
        decision = await self._reconciler.read()
        deployments = decision.after.stored.deployments
        return pb.GetStatusResponse(
            route_table_version=decision.table.version,
            routers=[router_to_proto(router) for router in decision.after.routers.values()],
            nodes=list_nodes(decision),
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


def _list_replicas(decision: Decision, belongs: Callable[[Replica], bool]) -> list[resources_pb2.Replica]:
    observations, nodes = Observations(decision.after), decision.after.nodes
    replicas = sorted(decision.after.stored.replicas.values(), key=lambda r: (r.deployment, r.version, r.replica_id))
    return [replica_to_proto(r, nodes.get(r.node), observations) for r in replicas if belongs(r)]
