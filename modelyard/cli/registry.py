"""`modelyard models` and `versions`: what there is to serve."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller, check_model_exists, list_all
from modelyard.cli.show import format_name
from modelyard.resource_names import check_model_name, model_name
from modelyard.sizes import format_size

_PAGE_SIZE = 1000


def models(controller: options.Controller = options.CONTROLLER, as_json: options.Json = False) -> None:
    """List the models and their aliases.

    "(all deleted)" marks those of which no version is left: `modelyard versions NAME --deleted`.
    """
    from modelyard.v1 import registry_pb2

    def load_page(token: str) -> tuple[list[Any], str]:
        response = yard.registry.ListModels(registry_pb2.ListModelsRequest(page_size=_PAGE_SIZE, page_token=token))
        return list(response.models), response.next_page_token

    with Controller(controller) as yard:
        found = output.collect(list_all(load_page), "models")
        # The message of a model does not tell it, so JSON has no place for it, and a script need not wait for the look.
        looks = () if as_json else ((model.model, _has_versions(yard, model)) for model in found)
        has_versions = dict(output.collect(looks, "models looked at"))
    if as_json:
        output.print_json([output.to_plain(model) for model in found])
        return
    rows = [
        (
            model.model,
            f"{model.latest_version}{'' if has_versions[model.model] else ' (all deleted)'}",
            ", ".join(f"{alias.alias}={alias.version}" for alias in model.aliases),
            output.format_time(model.create_time),
        )
        for model in found
    ]
    empty = "no models yet: modelyard register NAME model.onnx"
    output.print_table(["MODEL", "LATEST", "ALIASES", "CREATED"], rows, empty=empty)


def _has_versions(yard: Controller, model: Any) -> bool:
    """Whether one is not deleted. No alias points to a deleted one, so most models need no question."""
    from modelyard.v1 import registry_pb2

    request = registry_pb2.ListVersionsRequest(parent=model.name, page_size=1)
    return bool(model.aliases) or any(True for _ in _list(yard, request))


def versions(
    *,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of this model only.")] = None,
    filter_: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Such as 'metrics.top1 > 0.9 and tags.team = \"vision\"'.")
    ] = "",
    order_by: Annotated[
        str, typer.Option(metavar="FIELD", help="Such as metrics.top1.  [default: by model, the newest first]")
    ] = "",
    descending: Annotated[bool, typer.Option("--desc", help="With --order-by: the largest first.")] = False,
    limit: Annotated[int | None, typer.Option(metavar="NUMBER", min=1, help="No more than so many.")] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones, too.")] = False,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """List versions: of a model or of all, those that a filter picks, in the order of a field.

    docs/search.md has the fields and operators. An unknown field is an error, not an empty list.
    """
    from modelyard.v1 import registry_pb2

    if descending and not order_by:
        raise typer.BadParameter("give --order-by FIELD with it", param_hint="--desc")
    request = registry_pb2.ListVersionsRequest(
        parent=model_name(check_model_name(name) if name else "-"),
        page_size=min(limit or _PAGE_SIZE, _PAGE_SIZE),
        filter=filter_,
        order_by=f"{order_by} desc" if descending else order_by,
        show_deleted=deleted,
    )
    with Controller(controller) as yard:
        found = output.collect(itertools.islice(_list(yard, request), limit), "versions")
        if name and not found:
            check_model_exists(yard, name)
        request.show_deleted, request.page_token = True, ""
        are_deleted = not (found or filter_ or deleted) and any(True for _ in _list(yard, request))
    if as_json:
        output.print_json([output.to_plain(version) for version in found])
    else:
        _print_versions(found, _say_empty(name, bool(filter_), are_deleted))


def _list(yard: Controller, request: Any) -> Iterator[Any]:
    def load_page(token: str) -> tuple[list[Any], str]:
        request.page_token = token
        response = yard.registry.ListVersions(request)
        return list(response.versions), response.next_page_token

    return list_all(load_page)


def _say_empty(name: str | None, is_filtered: bool, are_deleted: bool) -> str:
    if is_filtered:
        return "no version is like that"
    if are_deleted:
        return f"all versions are deleted: modelyard versions{f' {name}' if name else ''} --deleted"
    return f"no versions yet: modelyard register {name or 'NAME'} model.onnx"


def _print_versions(found: Sequence[Any], empty: str) -> None:
    rows = [
        (
            version.model_id,
            format_name(version),
            format_size(version.size_bytes),
            ", ".join(f"{key}={value:g}" for key, value in sorted(version.metrics.items())),
            version.user,
            output.format_time(version.create_time),
            _mark_deleted(version) + version.description,
        )
        for version in found
    ]
    columns = ["MODEL-ID", "FORMAT", "SIZE", "METRICS", "USER", "CREATED", "DESCRIPTION"]
    output.print_table(columns, rows, empty=empty)


def _mark_deleted(version: Any) -> str:
    if version.HasField("purge_time"):
        return "(purged) "
    return "(deleted) " if version.HasField("delete_time") else ""
