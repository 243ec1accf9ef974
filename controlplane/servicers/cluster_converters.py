"""Deployments, nodes, replicas and routers to their messages."""

from controlplane.domain import (
    Deployment,
    DeploymentStatus,
    Node,
    NodeScheduling,
    Replica,
    ReplicaState,
    RouterView,
    Schedulability,
    StartTimes,
    Wish,
)
from controlplane.policy.observations import Observations
from controlplane.policy.rooms import GpuRoom, Room
from controlplane.servicers.agent_converters import allocation_to_proto, serving_to_proto
from controlplane.servicers.converters import timestamp_to_proto
from controlplane.servicers.device_converters import (
    condition_to_proto,
    formats_to_proto,
    gpu_to_proto,
    runtime_to_proto,
)
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
        gpu_percent=deployment.gpu_percent,
        gpu_memory_bytes=deployment.gpu_memory_bytes,
        serving=serving_to_proto(deployment.serving),
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
        scheduling=_scheduling_to_proto(room.scheduling),
        gpus=[_gpu_use_to_proto(gpu, node) for gpu in room.gpus.values()],
        agent_release=node.release,
    )


def absent_node_to_proto(name: str, scheduling: NodeScheduling | None, replicas: int) -> resources_pb2.Node:
    """One that has not reported since the controller started, or not for long."""
    return resources_pb2.Node(
        name=f"nodes/{name}", node=name, scheduling=_scheduling_to_proto(scheduling), replicas=replicas
    )


def _scheduling_to_proto(scheduling: NodeScheduling | None) -> resources_pb2.NodeScheduling:
    if scheduling is None:
        return resources_pb2.NodeScheduling(state=Schedulability.OPEN.name)
    author = scheduling.author
    return resources_pb2.NodeScheduling(
        state=scheduling.state.name,
        user=author.user,
        reason=author.reason,
        update_time=timestamp_to_proto(author.at),
    )


def _gpu_use_to_proto(room: GpuRoom, node: Node) -> resources_pb2.GpuUse:
    condition = node.gpu_conditions.get(room.gpu.uuid)
    return resources_pb2.GpuUse(
        uuid=room.gpu.uuid,
        free_percent=room.free_percent,
        free_memory_bytes=room.free_bytes,
        condition=condition_to_proto(condition) if condition else None,
    )


def _resources_to_proto(node: Node) -> resources_pb2.NodeResources:
    return resources_pb2.NodeResources(
        cores=node.cores,
        memory_bytes=node.memory_bytes,
        replicas_per_core=node.replicas_per_core,
        hardware_class=node.hardware_class,
        formats=formats_to_proto(node.formats),
        topology=[
            resources_pb2.CpuCore(
                number=core.number, socket=core.socket, numa_node=core.numa_node, physical_core=core.physical_core
            )
            for core in node.topology
        ],
        gpus=[gpu_to_proto(gpu) for gpu in node.gpus],
        gpu_message=node.gpu_message,
        runtimes=[runtime_to_proto(offer) for offer in node.runtimes],
        driver_version=node.driver_version,
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
        serving=serving_to_proto(replica.serving),
        runtime=seen.runtime,
        memory_used_bytes=seen.memory_used_bytes,
        metrics_address=format_address(node.address, seen.metrics_port) if node and seen.metrics_port else "",
        create_time=timestamp_to_proto(replica.created_at) if replica.created_at else None,
        start_times=_start_times_to_proto(seen.start_times) if seen.start_times else None,
    )


def _start_times_to_proto(times: StartTimes) -> resources_pb2.StartTimes:
    return resources_pb2.StartTimes(
        fetch_s=times.fetch_s,
        start_s=times.start_s,
        load_s=times.load_s,
        warm_up_s=times.warm_up_s,
        probe_s=times.probe_s,
    )


def router_to_proto(router: RouterView) -> deployments_pb2.GetStatusResponse.Router:
    return deployments_pb2.GetStatusResponse.Router(
        router_id=router.router_id,
        address=router.address,
        connected=router.connected,
        applied_version=router.applied_version,
        error=router.error,
    )
