"""`modelyard models` and `versions`: what there is to serve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard.cli import options, output
from modelyard.cli.controller import Controller, check_model_exists, list_all
from modelyard.resource_names import check_model_name, model_name
from modelyard.sizes import format_size


def models(controller: options.Controller = options.CONTROLLER, as_json: options.Json = False) -> None:
    """List the models and their aliases."""
    from modelyard.v1 import registry_pb2

    def load_page(token: str) -> tuple[list[Any], str]:
        response = yard.registry.ListModels(registry_pb2.ListModelsRequest(page_token=token))
        return list(response.models), response.next_page_token

    with Controller(controller) as yard:
        found = list(list_all(load_page))
    if as_json:
        output.print_json([output.to_plain(model) for model in found])
        return
    rows = [
        (
            model.model,
            model.latest_version,
            ", ".join(f"{alias.alias}={alias.version}" for alias in model.aliases),
            output.format_time(model.create_time),
        )
        for model in found
    ]
    empty = "no models yet: modelyard register NAME model.onnx"
    output.print_table(["MODEL", "LATEST", "ALIASES", "CREATED"], rows, empty=empty)


def versions(
    name: options.ModelArgument, controller: options.Controller = options.CONTROLLER, as_json: options.Json = False
) -> None:
    """List the versions of a model, newest first."""
    with Controller(controller) as yard:
        found = list(list_versions(yard, check_model_name(name)))
        if not found:
            check_model_exists(yard, name)
    if as_json:
        output.print_json([output.to_plain(version) for version in found])
        return
    rows = [
        (
            version.model_id,
            format_size(version.size_bytes),
            ", ".join(f"{key}={value:g}" for key, value in sorted(version.metrics.items())),
            version.user,
            output.format_time(version.create_time),
            version.description,
        )
        for version in found
    ]
    empty = f"{name} has no versions: modelyard register {name} model.onnx"
    output.print_table(["MODEL-ID", "SIZE", "METRICS", "USER", "CREATED", "DESCRIPTION"], rows, empty=empty)


def list_versions(yard: Controller, model: str) -> Iterator[Any]:
    """Newest first."""
    from modelyard.v1 import registry_pb2

    def load_page(token: str) -> tuple[list[Any], str]:
        request = registry_pb2.ListVersionsRequest(parent=model_name(model), page_token=token)
        response = yard.registry.ListVersions(request)
        return list(response.versions), response.next_page_token

    return list_all(load_page)
