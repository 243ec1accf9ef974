"""`modelyard show`: everything that is known of a version."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller, get_version, list_all
from modelyard.resource_names import parse_model_id
from modelyard.sizes import format_size

Rows = list[tuple[str, object]]
_PAGE_SIZE = 1000


def show(
    version: options.VersionArgument,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Show everything that is known of a version: what it takes and gives, where it came from, who changed what."""
    named = parse_model_id(version)
    with Controller(controller) as yard:
        found = get_version(yard, *named)
        changes = list_changes(yard, found.name)
    if as_json:
        output.print_json({**output.to_plain(found), "changes": [plain_change(change) for change in changes]})
    else:
        _print(found, changes)


def list_changes(yard: Controller, name: str) -> Sequence[Any]:
    """Of the version of this resource name, oldest first."""
    from modelyard.v1 import registry_pb2

    def load_page(token: str) -> tuple[list[Any], str]:
        request = registry_pb2.ListVersionChangesRequest(name=name, page_size=_PAGE_SIZE, page_token=token)
        response = yard.registry.ListVersionChanges(request)
        return list(response.changes), response.next_page_token

    return output.collect(list_all(load_page), "changes")


def plain_change(change: Any) -> dict[str, Any]:
    """With what changed as an object, not as text."""
    plain = output.to_plain(change)
    return {**plain, "changes": json.loads(plain.pop("changes_json") or "{}")}


def describe_tensor(spec: Any) -> str:
    """As in "FP32[-1, 3]"."""
    return f"{spec.datatype}[{', '.join(map(str, spec.shape))}]"


def format_name(version: Any) -> str:
    """As people write it: "onnx"."""
    return output.enum_name(version.DESCRIPTOR.fields_by_name["format"].enum_type, version.format).lower()


def describe_details(version: Any) -> Iterator[tuple[str, object]]:
    """What only models of its format have, those that are known."""
    kind = version.details.WhichOneof("format")
    if kind is None:
        return
    details = getattr(version.details, kind)
    for field in details.DESCRIPTOR.fields:
        value = getattr(details, field.name)
        if field.name == "signatures":
            yield "signatures", ", ".join(sorted(value))
        elif field.name == "opsets":
            yield "opsets", ", ".join(f"{domain or 'ai.onnx'} {number}" for domain, number in sorted(value.items()))
        elif value:
            text = value if isinstance(value, str | int) else ", ".join(value)
            yield field.name.replace("_", " "), text


def _print(version: Any, changes: Sequence[Any]) -> None:
    _print_section(version.model_id, _facts(version))
    _print_section("Source", _source(version))
    for side in ("inputs", "outputs"):
        specs = getattr(version.signature, side)
        _print_section(side.capitalize(), [(spec.name, describe_tensor(spec)) for spec in specs])
    _print_section("Format", list(describe_details(version)))
    for field in ("metrics", "parameters", "tags"):
        values = getattr(version, field)
        numbers = [(key, f"{values[key]:g}" if field == "metrics" else values[key]) for key in sorted(values)]
        _print_section(field.capitalize(), list(numbers))
    _print_changes(changes)


def _print_section(title: str, rows: Rows) -> None:
    rows = [(key, value) for key, value in rows if value not in ("", None)]
    if not rows:
        return
    width = max(len(key) for key, _ in rows)
    typer.echo(title)
    for key, value in rows:
        typer.echo(f"  {key.ljust(width)}  {value}")


def _facts(version: Any) -> Rows:
    return [
        ("description", version.description),
        ("user", version.user),
        ("registered", output.format_time(version.create_time)),
        ("deleted", output.format_time(version.delete_time) if version.HasField("delete_time") else ""),
        ("purged", output.format_time(version.purge_time) if version.HasField("purge_time") else ""),
        ("format", format_name(version)),
        ("size", f"{format_size(version.size_bytes)} ({version.size_bytes} bytes)"),
        ("sha256", version.sha256),
        ("uri", version.uri),
        ("sample", _describe_sample(version)),
    ]


def _describe_sample(version: Any) -> str:
    if not version.HasField("sample"):
        return ""
    made = "made from the signature" if version.sample.is_made else "given"
    return f"{made}, {format_size(version.sample.size_bytes)}: modelyard infer {version.model_id} --sample"


def _source(version: Any) -> Rows:
    source, origin = version.source, version.origin
    came = [origin.model_id, f"by {origin.user}" if origin.user else ""]
    if origin.HasField("create_time"):
        came.append(f"of {output.format_time(origin.create_time)}")
    return [
        ("git commit", source.git_commit),
        ("training run", source.training_run),
        ("data set", source.dataset_uri),
        ("read from", source.uri),
        ("imported from", " ".join(filter(None, came)) if version.HasField("origin") else ""),
    ]


def _print_changes(changes: Sequence[Any]) -> None:
    if not changes:
        return
    typer.echo("Changes")
    for change in changes:
        reason = f": {change.reason}" if change.reason else ""
        typer.echo(f"  {change.revision}  {output.format_time(change.time)}  {change.user or '-'}{reason}")
        for line in _describe_change(json.loads(change.changes_json or "{}")):
            typer.echo(f"     {line}")


def _describe_change(changes: dict[str, Any]) -> Iterator[str]:
    """Each thing that changed: "tags.team: vision -> audio"."""
    for field, change in changes.items():
        old, new = change.get("from"), change.get("to")
        if not isinstance(old, dict) and not isinstance(new, dict):
            yield f"{field}: {old!r} -> {new!r}"
            continue
        before, after = old or {}, new or {}
        for key in sorted({*before, *after}):
            yield f"{field}.{key}: {_value(before, key)} -> {_value(after, key)}"


def _value(values: dict[str, Any], key: str) -> str:
    return str(values[key]) if key in values else "(none)"
