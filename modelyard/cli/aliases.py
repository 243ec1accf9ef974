"""`modelyard alias`: which version a name stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller
from modelyard.cli.waiting import describe, find_deployment, wait_ready
from modelyard.resource_names import alias_name, check_alias_name, check_model_name, deployment_name, model_name

Alias = Annotated[
    str, typer.Argument(metavar="ALIAS", help="One of the preset names production and staging, or a name of your own.")
]
PRESET = ("production", "staging")

alias_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=options.MARKUP_MODE,
    help="Move, list, compare and remove the aliases of a model. The names production and staging are preset.",
)


@alias_app.command("set", epilog="Example: modelyard alias set resnet production 3 --reason 'top1 0.76 -> 0.78'")
def set_alias(
    *,
    name: options.ModelArgument,
    alias: Alias,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version's number.")],
    reason: options.Reason = "",
    expect: options.Expect = None,
    wait: options.Wait = True,
    timeout: options.WaitTimeout = 300.0,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Point an alias to a version, creating it if need be.

    Where the alias is deployed, its replicas of the version before serve on until as many of the new one are ready. Of
    two who move it at once, one is told that the other did. `modelyard rollback` takes a move back.
    """
    from modelyard.v1 import registry_pb2

    resource = alias_name(check_model_name(name), check_alias_name(alias))
    with Controller(controller) as yard:
        request = registry_pb2.SetAliasRequest(
            name=resource,
            version=version,
            user=options.login_name(),
            reason=reason,
            expected_version=find_alias_version(yard, name, alias) if expect is None else expect,
        )
        moved = yard.registry.SetAlias(request).alias
        sentence = f"{moved.model}@{moved.alias} -> {moved.model}@{moved.version}"
        tell_moved(yard, moved, sentence, timeout if wait else None, as_json)
    if as_json:
        output.print_json(output.to_plain(moved))


def find_alias_version(yard: Controller, name: str, alias: str) -> int:
    """What it points to now; 0: to nothing. Raises NotFoundError where there is no such model."""
    return next((there.version for there in get_aliases(yard, name) if there.alias == alias), 0)


def get_aliases(yard: Controller, name: str) -> Sequence[Any]:
    from modelyard.v1 import registry_pb2

    request = registry_pb2.GetModelRequest(name=model_name(check_model_name(name)))
    aliases: Sequence[Any] = yard.registry.GetModel(request).model.aliases
    return aliases


def tell_moved(yard: Controller, alias: Any, sentence: str, timeout_s: float | None, as_json: bool) -> None:
    """Says so, and waits until the move is done where the alias is served. `timeout_s`: None, it does not wait."""
    if not as_json:
        typer.echo(sentence)
    resource = deployment_name(alias.model, alias.alias)
    if timeout_s is None or not find_deployment(yard, resource):
        return
    deployment = wait_ready(yard, resource, timeout_s)
    if not as_json:
        typer.echo(describe(deployment))


@alias_app.command("list", epilog="Example: modelyard alias list resnet")
def list_aliases(
    name: options.ModelArgument, controller: options.Controller = options.CONTROLLER, as_json: options.Json = False
) -> None:
    """List the aliases of a model, with who moved each and why.

    The preset names production and staging are shown as not set until somebody sets them; with --json there are only
    those that are set.
    """
    with Controller(controller) as yard:
        aliases = get_aliases(yard, name)
    if as_json:
        output.print_json([output.to_plain(alias) for alias in aliases])
        return
    rows = [
        (alias.alias, alias.version, alias.user, output.format_time(alias.update_time), alias.reason)
        for alias in aliases
    ]
    there = {alias.alias for alias in aliases}
    rows += [(preset, "not set", "", "", "") for preset in PRESET if preset not in there]
    output.print_table(["ALIAS", "VERSION", "USER", "MOVED", "REASON"], rows)


@alias_app.command("remove", epilog="Example: modelyard alias remove resnet champion")
def remove_alias(
    *,
    name: options.ModelArgument,
    alias: Alias,
    reason: options.Reason = "",
    expect: options.Expect = None,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Remove an alias that no deployment serves."""
    from modelyard.v1 import registry_pb2

    resource = alias_name(check_model_name(name), check_alias_name(alias))
    with Controller(controller) as yard:
        request = registry_pb2.DeleteAliasRequest(
            name=resource,
            user=options.login_name(),
            reason=reason,
            expected_version=find_alias_version(yard, name, alias) if expect is None else expect,
        )
        yard.registry.DeleteAlias(request)
    if as_json:
        output.print_json({"name": resource, "removed": True})
    else:
        typer.echo(f"{name}@{alias} removed")
