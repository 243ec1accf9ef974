"""What is told and kept of a replica: the controller's view of it, and the record for the next agent."""

from dataclasses import asdict

from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.replica_folder import RunRecord
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.replica_state import Replica, State
from nodeagent.running_server import RunningServer
from nodeagent.start_times import StartTimes


def make_report(
    spec: ReplicaSpec, replica: Replica, server: RunningServer | None, start_times: StartTimes | None
) -> agent_pb2.ObservedReplica:
    again = f" (tried again after a pause; failure {replica.failures} in a row)"
    return agent_pb2.ObservedReplica(
        replica_id=spec.replica_id,
        model=spec.model,
        version=spec.version,
        state=_WIRE_STATES[replica.state],
        port=replica.port,
        restarts=replica.restarts,
        pid=server.identity.pid if server else 0,
        message=replica.message + (again if replica.state is State.BACKOFF else ""),
        runtime=server.facts.runtime if server else "",
        metrics_port=server.metrics_port if server else 0,
        memory_used_bytes=replica.memory_used_bytes,
        start_times=resources_pb2.StartTimes(**asdict(start_times)) if start_times else None,
    )


def make_record(
    spec: ReplicaSpec, replica: Replica, server: RunningServer, start_times: StartTimes | None
) -> RunRecord:
    return RunRecord(
        spec=spec,
        process=server.identity,
        host=server.facts.host,
        port=replica.port,
        restarts=replica.restarts,
        canary_s=replica.canary_s,
        canary_token=server.facts.canary_token,
        runtime=server.facts.runtime,
        planned_port=server.facts.planned_port,
        metrics_port=server.metrics_port,
        marker=server.marker,
        start_times=start_times,
    )


_WIRE_STATES = {
    State.NEW: resources_pb2.REPLICA_STATE_PENDING,
    State.FETCHING: resources_pb2.REPLICA_STATE_FETCHING,
    State.STARTING: resources_pb2.REPLICA_STATE_STARTING,
    State.READY: resources_pb2.REPLICA_STATE_READY,
    State.UNHEALTHY: resources_pb2.REPLICA_STATE_UNHEALTHY,
    State.BACKOFF: resources_pb2.REPLICA_STATE_BACKOFF,
    State.DRAINING: resources_pb2.REPLICA_STATE_DRAINING,
    State.STOPPED: resources_pb2.REPLICA_STATE_STOPPED,
}
