"""`modelyard alias`: which version a name stands for."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller
from modelyard.cli.waiting import describe, find_deployment, wait_ready
from modelyard.resource_names import alias_name, check_alias_name, check_model_name, deployment_name, model_name

alias_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=options.MARKUP_MODE,
    help="Move, list and remove the aliases of a model.",
)


@alias_app.command("set", epilog="Example: modelyard alias set resnet production 3 --reason 'top1 0.76 -> 0.78'")
def set_alias(
    *,
    name: options.ModelArgument,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="production, staging, or a name of your own.")],
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version's number.")],
    reason: Annotated[str, typer.Option(help="Kept in the alias's history.")] = "",
    wait: options.Wait = True,
    timeout: options.WaitTimeout = 300.0,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Point an alias to a version, creating it if need be.

    Where the alias is deployed, its replicas of the version before serve on until as many of the new one are ready.
    """
    from modelyard.v1 import registry_pb2

    request = registry_pb2.SetAliasRequest(
        name=alias_name(check_model_name(name), check_alias_name(alias)),
        version=version,
        user=options.login_name(),
        reason=reason,
    )
    with Controller(controller) as yard:
        moved = yard.registry.SetAlias(request).alias
        if not as_json:
            typer.echo(f"{moved.model}@{moved.alias} -> {moved.model}@{moved.version}")
        if wait and find_deployment(yard, resource := deployment_name(name, alias)):
            deployment = wait_ready(yard, resource, timeout)
            if not as_json:
                typer.echo(describe(deployment))
    if as_json:
        output.print_json(output.to_plain(moved))


@alias_app.command("list", epilog="Example: modelyard alias list resnet")
def list_aliases(
    name: options.ModelArgument, controller: options.Controller = options.CONTROLLER, as_json: options.Json = False
) -> None:
    """List the aliases of a model, with who moved each and why."""
    from modelyard.v1 import registry_pb2

    with Controller(controller) as yard:
        request = registry_pb2.GetModelRequest(name=model_name(check_model_name(name)))
        aliases = yard.registry.GetModel(request).model.aliases
    if as_json:
        output.print_json([output.to_plain(alias) for alias in aliases])
        return
    rows = [
        (alias.alias, alias.version, alias.user, output.format_time(alias.update_time), alias.reason)
        for alias in aliases
    ]
    empty = f"{name} has no aliases: modelyard alias set {name} production 1"
    output.print_table(["ALIAS", "VERSION", "USER", "MOVED", "REASON"], rows, empty=empty)


@alias_app.command("remove", epilog="Example: modelyard alias remove resnet champion")
def remove_alias(
    *,
    name: options.ModelArgument,
    alias: Annotated[str, typer.Argument(metavar="ALIAS")],
    reason: Annotated[str, typer.Option(help="Kept in the alias's history.")] = "",
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Remove an alias that no deployment serves."""
    from modelyard.v1 import registry_pb2

    resource = alias_name(check_model_name(name), check_alias_name(alias))
    with Controller(controller) as yard:
        yard.registry.DeleteAlias(
            registry_pb2.DeleteAliasRequest(name=resource, user=options.login_name(), reason=reason)
        )
    if as_json:
        output.print_json({"name": resource, "removed": True})
    else:
        typer.echo(f"{name}@{alias} removed")
