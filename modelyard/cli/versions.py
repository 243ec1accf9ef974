"""`modelyard update`, `delete` and `restore`: what may change of a version, and what may be taken back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.cli.controller import Controller, get_version
from modelyard.resource_names import parse_model_id, version_name


def update(
    *,
    version: options.VersionArgument,
    description: Annotated[str | None, typer.Option(help="The new one; '' for none.")] = None,
    tag: options.Tags = None,
    remove_tag: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Repeatable.")] = None,
    metric: options.Metrics = None,
    reason: options.Reason = "",
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Change a version's description or tags, or add metrics.

    Nothing else of a version can change, and a metric that is there cannot. Who changed what when is kept: `modelyard
    show`.
    """
    from modelyard.v1 import registry_pb2

    named = parse_model_id(version)
    request = registry_pb2.UpdateVersionRequest(
        name=version_name(*named),
        user=options.login_name(),
        reason=reason,
        description=description,
        set_tags=parsing.parse_pairs("--tag", tag or []),
        remove_tags=remove_tag or [],
        add_metrics=parsing.parse_metrics("--metric", metric or []),
    )
    if description is None and not (request.set_tags or request.remove_tags or request.add_metrics):
        raise typer.BadParameter("give --description, --tag, --remove-tag or --metric", param_hint="what to change")
    if both := sorted({*request.set_tags} & {*request.remove_tags}):
        raise typer.BadParameter(f"{both[0]!r} is to be set as well", param_hint="--remove-tag")
    with Controller(controller) as yard:
        request.expected_revision = get_version(yard, *named).revision
        changed = yard.registry.UpdateVersion(request).version
    unchanged = changed.revision == request.expected_revision
    _tell(changed, "is so already" if unchanged else f"changed: revision {changed.revision}", as_json)


def delete(
    *,
    version: options.VersionArgument,
    reason: options.Reason = "",
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Take a version out of sight, its files kept until `modelyard purge`.

    A version that is served, or to which an alias points, cannot be deleted.
    """
    from modelyard.v1 import registry_pb2

    name = version_name(*parse_model_id(version))
    request = registry_pb2.DeleteVersionRequest(name=name, user=options.login_name(), reason=reason)
    with Controller(controller) as yard:
        deleted = yard.registry.DeleteVersion(request).version
    _tell(deleted, f"deleted; until it is purged: modelyard restore {version}", as_json)


def restore(
    *,
    version: options.VersionArgument,
    reason: options.Reason = "",
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Take back the deletion of a version that is not purged yet."""
    from modelyard.v1 import registry_pb2

    name = version_name(*parse_model_id(version))
    request = registry_pb2.RestoreVersionRequest(name=name, user=options.login_name(), reason=reason)
    with Controller(controller) as yard:
        restored = yard.registry.RestoreVersion(request).version
    _tell(restored, "restored", as_json)


def _tell(version: Any, what: str, as_json: bool) -> None:
    if as_json:
        output.print_json(output.to_plain(version))
    else:
        typer.echo(f"{version.model_id} {what}")
