"""Deployments, nodes, replicas and routers to their messages."""

from controlplane.domain import Deployment, DeploymentStatus, Node, Replica, ReplicaState, RouterView, Wish
from controlplane.policy.filters import Room
from controlplane.policy.observations import Observations
from controlplane.servicers.agent_converters import allocation_to_proto
from controlplane.servicers.converters import timestamp_to_proto
from modelyard.addresses import format_address
from modelyard.resource_names import deployment_name
from modelyard.v1 import deployments_pb2, resources_pb2


def deployment_to_proto(deployment: Deployment, status: DeploymentStatus) -> resources_pb2.Deployment:
    return resources_pb2.Deployment(
        name=deployment_name(deployment.model, deployment.alias),
        model=deployment.model,
        alias=deployment.alias,
        replicas=deployment.replicas,
        threads=deployment.threads,
        memory_bytes=deployment.memory_bytes,
        no_retries=deployment.no_retries,
        status=_status_to_proto(status),
    )


def _status_to_proto(status: DeploymentStatus) -> resources_pb2.DeploymentStatus:
    return resources_pb2.DeploymentStatus(
        state=status.state.name,
        target_version=status.target_version,
        serving_version=status.serving_version,
        ready_replicas=status.ready_replicas,
        message=status.message,
    )


def node_to_proto(room: Room, replicas: int) -> resources_pb2.Node:
    node = room.node
    return resources_pb2.Node(
        name=f"nodes/{node.name}",
        node=node.name,
        address=node.address,
        resources=_resources_to_proto(node),
        connected=node.connected,
        free_core_slots=room.free_core_slots,
        free_memory_bytes=room.free_bytes,
        replicas=replicas,
        last_seen_time=timestamp_to_proto(node.last_seen) if node.last_seen else None,
    )


def _resources_to_proto(node: Node) -> resources_pb2.NodeResources:
    return resources_pb2.NodeResources(
        cores=node.cores,
        memory_bytes=node.memory_bytes,
        replicas_per_core=node.replicas_per_core,
        hardware_class=node.hardware_class,
        formats=sorted(f"MODEL_FORMAT_{format_.name}" for format_ in node.formats),
    )


def replica_to_proto(replica: Replica, node: Node | None, observations: Observations) -> resources_pb2.Replica:
    seen = observations.sighting_of(replica)
    # What it was routed as before the controller started is good enough to go on routing, not to be told as a fact.
    state = seen.state if node else ReplicaState.PENDING
    return resources_pb2.Replica(
        name=f"replicas/{replica.replica_id}",
        replica_id=replica.replica_id,
        model=replica.model,
        version=replica.version,
        alias=replica.alias,
        node=replica.node,
        allocation=allocation_to_proto(replica.allocation),
        state=f"REPLICA_STATE_{state.name}",
        address=format_address(node.address, seen.port) if node and seen.port else "",
        restarts=seen.restarts,
        message=seen.message,
        retiring=replica.wish is not Wish.RUN,
    )


def router_to_proto(router: RouterView) -> deployments_pb2.GetStatusResponse.Router:
    return deployments_pb2.GetStatusResponse.Router(
        router_id=router.router_id,
        address=router.address,
        connected=router.connected,
        applied_version=router.applied_version,
        error=router.error,
    )
