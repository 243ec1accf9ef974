"""The controller's composition root."""

import asyncio
import logging
from dataclasses import dataclass

from grpc import aio
from grpc_health.v1 import health

from controlplane.clock import Clock, SteadyClock
from controlplane.reconcilers.reconciler import Reconciler, Wakeup, make_timeouts
from controlplane.registry.opening import Registry, open_registry
from controlplane.servicers.agent import AgentServicer
from controlplane.servicers.cluster import ClusterServicer
from controlplane.servicers.deployments import DeploymentServicer
from controlplane.servicers.registry import RegistryServicer
from controlplane.servicers.routing import RoutingServicer
from controlplane.sessions.logs import LogRelays
from controlplane.sessions.nodes import NodeSessions
from controlplane.sessions.routers import RouterSessions
from controlplane.settings import ControllerSettings
from modelyard.addresses import format_address, parse_address
from modelyard.errors import FailedPreconditionError
from modelyard.grpc_server import create_server
from modelyard.program import announce_ready
from modelyard.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    deployments_pb2,
    deployments_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
    routing_pb2,
    routing_pb2_grpc,
)

log = logging.getLogger(__name__)

# Calls under way have so long to finish; streams end at once, for their other ends connect again.
_STOP_GRACE_S = 5.0


@dataclass(frozen=True)
class Controller:
    """Everything that runs, put together."""

    registry: Registry
    nodes: NodeSessions
    routers: RouterSessions
    logs: LogRelays
    reconciler: Reconciler
    server: aio.Server
    health: health.aio.HealthServicer


def open_configured_registry(settings: ControllerSettings, clock: Clock) -> Registry:
    """Blocking. Raises YardError with a sentence where the database or the artifacts cannot be used."""
    return open_registry(
        settings.data,
        database_url=settings.database_url,
        artifacts_url=settings.artifacts_url,
        lineage_url=settings.lineage_url,
        max_model_bytes=settings.max_model_bytes,
        stalled_upload_s=settings.stalled_upload_s,
        uri_prefixes=settings.uri_prefixes,
        now=clock,
    )


def make_controller(settings: ControllerSettings, registry: Registry, clock: Clock) -> Controller:
    wake = Wakeup()
    timeouts = make_timeouts(settings.node_lost_after_s, settings.router_lost_after_s, settings.startup_grace_s)
    nodes = NodeSessions(clock, timeouts.node_lost_after, wake)
    routers = RouterSessions(clock, timeouts.router_lost_after, wake)
    logs = LogRelays()
    reconciler = Reconciler(
        store=registry.state, nodes=nodes, routers=routers, wake=wake, clock=clock, timeouts=timeouts
    )
    server, health_servicer = create_server(
        _service_names(),
        max_message_bytes=settings.max_message_bytes,
        # Agents and routers may ask whether the line still stands while nothing else goes over it.
        options=[("grpc.keepalive_permit_without_calls", 1)],
    )
    agent_pb2_grpc.add_AgentServiceServicer_to_server(AgentServicer(nodes, logs), server)
    routing_pb2_grpc.add_RoutingServiceServicer_to_server(RoutingServicer(routers), server)
    deployments_pb2_grpc.add_ClusterServiceServicer_to_server(
        ClusterServicer(registry.state, reconciler, clock, on_change=reconciler.wake, nodes=nodes, logs=logs), server
    )
    deployments_pb2_grpc.add_DeploymentServiceServicer_to_server(
        DeploymentServicer(registry.state, reconciler, clock, on_change=registry.recorder.wake), server
    )
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(
        RegistryServicer(registry, now=clock, on_change=wake), server
    )
    return Controller(registry, nodes, routers, logs, reconciler, server, health_servicer)


def _service_names() -> list[str]:
    files = (agent_pb2, deployments_pb2, registry_pb2, routing_pb2)
    return [service.full_name for file in files for service in file.DESCRIPTOR.services_by_name.values()]


async def run_controller(settings: ControllerSettings, stop: asyncio.Event) -> None:
    """Until `stop` is set. Raises YardError where it cannot listen, or use its database or artifacts."""
    clock = SteadyClock()
    registry = await asyncio.to_thread(open_configured_registry, settings, clock)
    try:
        await _serve(settings, make_controller(settings, registry, clock), stop)
    finally:
        await registry.close()


async def _serve(settings: ControllerSettings, controller: Controller, stop: asyncio.Event) -> None:
    address = _listen(controller.server, settings.listen)
    await controller.registry.start()
    stop_reconciling = asyncio.Event()
    reconciling = asyncio.create_task(controller.reconciler.run(stop_reconciling), name="reconciler")
    try:
        await controller.server.start()
        await _tell_health(controller.health)
        log.info("the controller listens on %s", address)
        announce_ready(settings, address=address)
        await stop.wait()
        log.info("stopping")
    finally:
        await _stop_serving(controller)
        stop_reconciling.set()
        controller.reconciler.wake()
        await reconciling


def _listen(server: aio.Server, listen: str) -> str:
    """The address that was bound."""
    host, _ = parse_address(listen)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError:
        port = 0
    if not port:
        raise FailedPreconditionError(
            f"the controller cannot listen on {listen}: something else does, or this host has no such address; "
            "stop that, or give another address (--listen; --controller-listen of `modelyard up`)"
        )
    return format_address(host, port)


async def _tell_health(servicer: health.aio.HealthServicer) -> None:
    from grpc_health.v1.health_pb2 import HealthCheckResponse

    for name in ("", *_service_names()):
        await servicer.set(name, HealthCheckResponse.SERVING)


async def _stop_serving(controller: Controller) -> None:
    await controller.health.enter_graceful_shutdown()
    controller.nodes.close()
    controller.routers.close()
    controller.logs.close()
    await controller.server.stop(_STOP_GRACE_S)
