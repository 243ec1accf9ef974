"""`modelyard replicas`, `nodes` and `status`: what is served where, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller, check_model_exists
from modelyard.resource_names import check_model_name, model_name
from modelyard.sizes import format_size


def replicas(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of this model only.")] = None,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """List the replicas: where they run, how they are."""
    from modelyard.v1 import deployments_pb2

    request = deployments_pb2.ListReplicasRequest(parent=model_name(check_model_name(name)) if name else "")
    with Controller(controller) as yard:
        found = yard.cluster.ListReplicas(request).replicas
        if name and not found:
            check_model_exists(yard, name)
    if as_json:
        output.print_json([output.to_plain(replica) for replica in found])
    else:
        _print_replicas(found)


def nodes(controller: options.Controller = options.CONTROLLER, as_json: options.Json = False) -> None:
    """List the nodes, with what they have and what is free."""
    from modelyard.v1 import deployments_pb2

    with Controller(controller) as yard:
        found = yard.cluster.ListNodes(deployments_pb2.ListNodesRequest()).nodes
    if as_json:
        output.print_json([output.to_plain(node) for node in found])
    else:
        _print_nodes(found)


def status(controller: options.Controller = options.CONTROLLER, as_json: options.Json = False) -> None:
    """Show routers, nodes, deployments and replicas."""
    from modelyard.v1 import deployments_pb2

    with Controller(controller) as yard:
        found = yard.cluster.GetStatus(deployments_pb2.GetStatusRequest())
    if as_json:
        output.print_json(output.to_plain(found))
        return
    _print_routers(found)
    _print_nodes(found.nodes, title="Nodes")
    _print_deployments(found.deployments)
    _print_replicas(found.replicas, title="Replicas")


def _print_routers(status: Any) -> None:
    rows = [
        (
            router.router_id,
            router.address,
            "yes" if router.connected else "no",
            f"{router.applied_version} of {status.route_table_version}",
            router.error,
        )
        for router in status.routers
    ]
    columns = ["ROUTER", "ADDRESS", "CONNECTED", "ROUTE TABLE", "REFUSED BECAUSE"]
    output.print_table(columns, rows, title="Routers", empty="none: modelyard router --controller HOST:PORT")


def _print_nodes(found: Sequence[Any], title: str = "") -> None:
    rows = [
        (
            node.node,
            node.address,
            "yes" if node.connected else "no",
            f"{node.free_core_slots} of {len(node.resources.cores) * node.resources.replicas_per_core}",
            f"{format_size(node.free_memory_bytes)} of {format_size(node.resources.memory_bytes)}",
            node.replicas,
            ", ".join(map(_name_format, node.resources.formats)),
            node.resources.hardware_class,
        )
        for node in found
    ]
    columns = ["NODE", "ADDRESS", "CONNECTED", "FREE CORES", "FREE MEMORY", "REPLICAS", "SERVES", "HARDWARE"]
    output.print_table(columns, rows, title=title, empty="no nodes: modelyard agent --controller HOST:PORT")


def _name_format(number: int) -> str:
    from modelyard.v1 import resources_pb2

    return output.enum_name(resources_pb2.ModelFormat.DESCRIPTOR, number).lower()


def _print_deployments(found: Sequence[Any]) -> None:
    rows = [
        (
            f"{deployment.model}@{deployment.alias}",
            _state(deployment.status),
            deployment.status.serving_version,
            deployment.status.target_version,
            f"{deployment.status.ready_replicas} of {deployment.replicas}",
            deployment.threads,
            deployment.status.message,
        )
        for deployment in found
    ]
    columns = ["DEPLOYMENT", "STATE", "SERVING", "TARGET", "READY", "THREADS", "MESSAGE"]
    output.print_table(columns, rows, title="Deployments", empty="none: modelyard deploy NAME")


def _print_replicas(found: Sequence[Any], title: str = "") -> None:
    rows = [
        (
            replica.replica_id,
            f"{replica.model}@{replica.version}",
            replica.alias,
            replica.node,
            _state(replica) + (" (retiring)" if replica.retiring else ""),
            replica.address,
            ",".join(map(str, replica.allocation.cores)),
            format_size(replica.allocation.memory_bytes),
            replica.restarts,
            replica.message,
        )
        for replica in found
    ]
    columns = ["REPLICA", "MODEL-ID", "ALIAS", "NODE", "STATE", "ADDRESS", "CORES", "MEMORY", "RESTARTS", "MESSAGE"]
    output.print_table(columns, rows, title=title, empty="none run")


def _state(message: Any) -> str:
    return output.enum_name(message.DESCRIPTOR.fields_by_name["state"].enum_type, message.state)
