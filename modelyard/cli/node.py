"""`modelyard node`: one host: what it has, and whether it takes replicas."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller
from modelyard.cli.node_drain import wait_drained
from modelyard.cli.node_show import find_node, print_node

Host = Annotated[str, typer.Argument(metavar="HOST", help="The node's name, as `modelyard nodes` lists it.")]
Reason = Annotated[str, typer.Option(help="Shown to whoever asks why.")]

node_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=options.MARKUP_MODE,
    help="Show one host, cordon it, drain it, open it again.",
)
_EXAMPLE = "Example: modelyard node "


@node_app.command(epilog=_EXAMPLE + "show gpu-host-1")
def show(host: Host, controller: options.Controller = options.CONTROLLER, as_json: options.Json = False) -> None:
    """Show all of one node: cores, memory, GPUs and their shares, runtimes, and the replicas there."""
    with Controller(controller) as yard:
        node, replicas = find_node(yard, host)
    if as_json:
        output.print_json({**output.to_plain(node), "replicas_here": [output.to_plain(r) for r in replicas]})
    else:
        print_node(node, replicas)


@node_app.command(epilog=_EXAMPLE + "cordon gpu-host-1 --reason 'fan is loud'")
def cordon(
    host: Host,
    reason: Reason = "",
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Place nothing new on a node. What runs there stays; what crashes there starts again there."""
    with Controller(controller) as yard:
        node = _update(yard, host, "CORDONED", reason)
    _tell(node, f"{host} takes no new replicas: `modelyard node uncordon {host}` opens it again", as_json)


@node_app.command(epilog=_EXAMPLE + "uncordon gpu-host-1")
def uncordon(
    host: Host,
    reason: Reason = "",
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Open a node that was cordoned or drained. In the middle of a drain, what still runs there stays."""
    with Controller(controller) as yard:
        node = _update(yard, host, "OPEN", reason)
    _tell(node, f"{host} takes replicas", as_json)


@node_app.command(epilog=_EXAMPLE + "drain gpu-host-1 --reason 'new disk' --timeout 900")
def drain(
    *,
    host: Host,
    reason: Reason = "",
    wait: options.Wait = True,
    timeout: options.WaitTimeout = 600.0,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Empty a node: the replicas of each deployment leave once as many are ready elsewhere.

    Nothing new comes to it. Where there is no room elsewhere nothing leaves, and it is told why. The drain goes on when
    this command is interrupted or its time is over, also beyond a restart of the controller, until somebody opens the
    node again; then what still runs there stays.
    """
    with Controller(controller) as yard:
        node = _update(yard, host, "DRAINING", reason)
        if wait:
            node = wait_drained(yard, host, timeout)
    done = f"{host} has no replicas, and takes none" if not node.replicas else f"{host} is being drained"
    _tell(node, f"{done}: `modelyard node uncordon {host}` opens it again", as_json)


def _update(yard: Controller, host: str, state: str, reason: str) -> Any:
    from modelyard.v1 import deployments_pb2

    request = deployments_pb2.UpdateNodeSchedulingRequest(
        name=f"nodes/{host}", state=state, user=options.login_name(), reason=reason
    )
    return yard.cluster.UpdateNodeScheduling(request).node


def _tell(node: Any, sentence: str, as_json: bool) -> None:
    if as_json:
        output.print_json(output.to_plain(node))
    else:
        typer.echo(sentence)
