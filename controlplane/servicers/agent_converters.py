"""What agents and the controller tell each other, to and from domain values; messages are checked here only."""

import re
from ipaddress import ip_address

from controlplane.domain import Allocation, Core, Node, ObservedReplica, ReplicaState, Serving, StartTimes
from controlplane.servicers.converters import version_to_proto
from controlplane.servicers.device_converters import conditions_from_proto, gpu_from_proto, runtimes_from_proto
from controlplane.sessions.logs import LogRequest
from controlplane.sessions.nodes import DesiredSet, Hello, Report
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import agent_pb2, resources_pb2

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_LONGEST_MESSAGE = 2000
_STATES = {resources_pb2.ReplicaState.Value(f"REPLICA_STATE_{state.name}"): state for state in ReplicaState}


def hello_from_proto(hello: agent_pb2.AgentHello) -> Hello:
    """Raises InvalidArgumentError that says what the agent must be told otherwise."""
    resources = hello.resources
    _check_resources(resources)
    report = report_from_proto(hello.observed)
    node = Node(
        name=_check_node_name(hello.node),
        address=_check_node_address(hello.address),
        cores=tuple(sorted(resources.cores)),
        memory_bytes=resources.memory_bytes,
        replicas_per_core=resources.replicas_per_core or 1,
        hardware_class=resources.hardware_class,
        observed=report.replicas,
        observed_generation=report.generation,
        runtimes=runtimes_from_proto(resources),
        takes_folders=bool(resources.formats),  # agents tell their formats since they take folders
        topology=tuple(Core(c.number, c.socket, c.numa_node, c.physical_core) for c in resources.topology),
        gpus=tuple(gpu_from_proto(gpu) for gpu in resources.gpus),
        gpu_message=resources.gpu_message[:_LONGEST_MESSAGE],
        driver_version=resources.driver_version[:100],
        gpu_conditions=report.gpus,
        release=hello.release[:100],
    )
    if not hello.instance_id:
        raise InvalidArgumentError("the agent gave no instance_id: it is made once for its data folder")
    return Hello(hello.instance_id, node)


def report_from_proto(state: agent_pb2.ObservedState) -> Report:
    replicas = {replica.replica_id: _replica_from_proto(replica) for replica in state.replicas}
    return Report(state.generation, replicas, conditions_from_proto(state.gpus))


def _replica_from_proto(replica: agent_pb2.ObservedReplica) -> ObservedReplica:
    # A state that a newer agent knows and this controller does not is not READY.
    state = _STATES.get(replica.state, ReplicaState.PENDING)
    message = replica.message[:_LONGEST_MESSAGE]
    return ObservedReplica(
        replica_id=replica.replica_id,
        state=state,
        port=_check_port(replica.replica_id, replica.port),
        restarts=replica.restarts,
        message=message,
        runtime=replica.runtime[:100],
        memory_used_bytes=max(0, replica.memory_used_bytes),
        metrics_port=_check_port(replica.replica_id, replica.metrics_port),
        start_times=_start_times_from_proto(replica.start_times) if replica.HasField("start_times") else None,
    )


def _check_port(replica_id: str, port: int) -> int:
    if not 0 <= port <= 65535:
        raise InvalidArgumentError(f"replica {replica_id} cannot listen on port {port}")
    return port


def _start_times_from_proto(times: resources_pb2.StartTimes) -> StartTimes:
    return StartTimes(times.fetch_s, times.start_s, times.load_s, times.warm_up_s, times.probe_s)


def _check_node_name(name: str) -> str:
    if not _NODE_NAME.fullmatch(name):
        rule = 'use up to 253 letters, digits, "-", "_" and ".", the first a letter or digit'
        raise InvalidArgumentError(
            f"{name[:300]!r} cannot be the name of a node: {rule}; give the agent another --node"
        )
    return name


def _check_node_address(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        raise InvalidArgumentError(
            f"{address[:100]!r} is not an IP address: give the agent another --address"
        ) from None
    if parsed.is_unspecified or parsed.is_multicast:
        raise InvalidArgumentError(f"no router can reach {address}: give the agent this host's own IP as --address")
    return str(parsed)


def _check_resources(resources: resources_pb2.NodeResources) -> None:
    if not resources.cores or len(set(resources.cores)) < len(resources.cores) or min(resources.cores) < 0:
        raise InvalidArgumentError("the agent must offer at least one core, and each once: give it other --cores")
    if resources.memory_bytes <= 0 or resources.replicas_per_core < 0:
        raise InvalidArgumentError("memory and replicas per core must be more than 0: see the agent's settings")


def desired_to_proto(desired: DesiredSet) -> agent_pb2.DesiredState:
    return agent_pb2.DesiredState(
        generation=desired.generation,
        replicas=[
            agent_pb2.DesiredReplica(
                replica_id=replica.replica_id,
                version=version_to_proto(replica.version),
                allocation=allocation_to_proto(replica.allocation),
                serving=serving_to_proto(replica.serving),
            )
            for replica in desired.replicas
        ],
    )


def log_request_to_proto(request: LogRequest) -> agent_pb2.LogRequest:
    query = request.query
    return agent_pb2.LogRequest(
        request_id=request.request_id,
        replica_id=query.replica_id,
        tail_lines=query.tail_lines,
        follow=query.follow,
        previous=query.previous,
    )


def allocation_to_proto(allocation: Allocation) -> resources_pb2.Allocation:
    gpu = allocation.gpu
    return resources_pb2.Allocation(
        cores=allocation.cores,
        threads=allocation.threads,
        memory_bytes=allocation.memory_bytes,
        gpu=resources_pb2.GpuShare(uuid=gpu.uuid, percent=gpu.percent, memory_bytes=gpu.memory_bytes) if gpu else None,
        is_memory_estimated=allocation.is_memory_estimated,
    )


def serving_to_proto(serving: Serving) -> resources_pb2.Serving:
    return resources_pb2.Serving(
        runtime=serving.runtime,
        max_batch_rows=serving.max_batch_rows,
        max_batch_wait_us=serving.max_batch_wait_us,
    )
