"""What agents and the controller tell each other, to and from domain values; messages are checked here only."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from controlplane.domain import Allocation, ModelFormat, Node, ObservedReplica, ReplicaState
from controlplane.servicers.converters import version_to_proto
from controlplane.sessions.nodes import DesiredSet, Hello
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import agent_pb2, resources_pb2

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_LONGEST_MESSAGE = 2000
_STATES = {resources_pb2.ReplicaState.Value(f"REPLICA_STATE_{state.name}"): state for state in ReplicaState}

_FORMATS = {resources_pb2.ModelFormat.Value(f"MODEL_FORMAT_{format_.name}"): format_ for format_ in ModelFormat}


def hello_from_proto(hello: agent_pb2.AgentHello) -> Hello:
    """Raises InvalidArgumentError that says what the agent must be told otherwise."""
    resources = hello.resources
    _check_resources(resources)
    generation, observed = observed_from_proto(hello.observed)
    node = Node(
        name=_check_node_name(hello.node),
        address=_check_node_address(hello.address),
        cores=tuple(sorted(resources.cores)),
        memory_bytes=resources.memory_bytes,
        replicas_per_core=resources.replicas_per_core or 1,
        hardware_class=resources.hardware_class,
        observed=observed,
        observed_generation=generation,
        formats=_formats_from_proto(resources.formats),
        takes_folders=bool(resources.formats),  # agents tell their formats since they take folders
    )
    if not hello.instance_id:
        raise InvalidArgumentError("the agent gave no instance_id: it is made once for its data folder")
    return Hello(hello.instance_id, node)


def _formats_from_proto(formats: Sequence[int]) -> frozenset[ModelFormat]:
    """Those that are known here. An agent that tells none is of a release that served ONNX only."""
    if not formats:
        return frozenset({ModelFormat.ONNX})
    return frozenset(_FORMATS[value] for value in formats if value in _FORMATS)


def observed_from_proto(state: agent_pb2.ObservedState) -> tuple[int, Mapping[str, ObservedReplica]]:
    """The generation, and the replicas by id."""
    return state.generation, {replica.replica_id: _replica_from_proto(replica) for replica in state.replicas}


def _replica_from_proto(replica: agent_pb2.ObservedReplica) -> ObservedReplica:
    if not 0 <= replica.port <= 65535:
        raise InvalidArgumentError(f"replica {replica.replica_id} cannot listen on port {replica.port}")
    # A state that a newer agent knows and this controller does not is not READY.
    state = _STATES.get(replica.state, ReplicaState.PENDING)
    message = replica.message[:_LONGEST_MESSAGE]
    return ObservedReplica(replica.replica_id, state, replica.port, replica.restarts, message)


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
            )
            for replica in desired.replicas
        ],
    )


def allocation_to_proto(allocation: Allocation) -> resources_pb2.Allocation:
    return resources_pb2.Allocation(
        cores=allocation.cores, threads=allocation.threads, memory_bytes=allocation.memory_bytes
    )
