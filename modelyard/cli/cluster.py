"""`modelyard replicas`, `nodes` and `status`: what is served where, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller, check_model_exists
from modelyard.cli.node_tables import print_nodes
from modelyard.cli.replica_tables import describe_state, print_replicas
from modelyard.resource_names import check_model_name, model_name


def replicas(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of this model only.")] = None,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """List the replicas: where they run, on what, and how they are."""
    from modelyard.v1 import deployments_pb2

    request = deployments_pb2.ListReplicasRequest(parent=model_name(check_model_name(name)) if name else "")
    with Controller(controller) as yard:
        found = yard.cluster.ListReplicas(request).replicas
        if name and not found:
            check_model_exists(yard, name)
    if as_json:
        output.print_json([output.to_plain(replica) for replica in found])
    else:
        print_replicas(found)


def nodes(controller: options.Controller = options.CONTROLLER, as_json: options.Json = False) -> None:
    """List the nodes: what they have, what is free, and whether they take replicas.

    Free is what no replica has: of two GPUs, one of which is half given away, 1.5. `modelyard node show HOST` tells all
    of one node, `modelyard node` cordons and drains them.
    """
    from modelyard.v1 import deployments_pb2

    with Controller(controller) as yard:
        found = yard.cluster.ListNodes(deployments_pb2.ListNodesRequest()).nodes
    if as_json:
        output.print_json([output.to_plain(node) for node in found])
    else:
        print_nodes(found)


def status(controller: options.Controller = options.CONTROLLER, as_json: options.Json = False) -> None:
    """Show routers, nodes, deployments and replicas."""
    from modelyard.v1 import deployments_pb2

    with Controller(controller) as yard:
        found = yard.cluster.GetStatus(deployments_pb2.GetStatusRequest())
    if as_json:
        output.print_json(output.to_plain(found))
        return
    _print_routers(found)
    print_nodes(found.nodes, title="Nodes")
    _print_deployments(found.deployments)
    print_replicas(found.replicas, title="Replicas")


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


def _print_deployments(found: Sequence[Any]) -> None:
    rows = [
        (
            f"{deployment.model}@{deployment.alias}",
            describe_state(deployment.status),
            deployment.status.serving_version,
            deployment.status.target_version,
            f"{deployment.status.ready_replicas} of {deployment.replicas}",
            deployment.threads,
            f"{deployment.gpu_percent}%" if deployment.gpu_percent else "",
            deployment.status.message,
        )
        for deployment in found
    ]
    columns = ["DEPLOYMENT", "STATE", "SERVING", "TARGET", "READY", "THREADS", "GPU", "MESSAGE"]
    output.print_table(columns, rows, title="Deployments", empty="none: modelyard deploy NAME")
