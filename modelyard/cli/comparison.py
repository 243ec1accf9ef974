"""`modelyard alias compare`: what differs between two versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import typer

from modelyard.cli import options, output
from modelyard.cli.aliases import alias_app, get_aliases
from modelyard.cli.controller import Controller, get_version
from modelyard.cli.show import describe_details, describe_tensor, format_name
from modelyard.errors import NotFoundError
from modelyard.resource_names import check_alias_name, check_model_name
from modelyard.sizes import format_size

Side = Annotated[str, typer.Argument(metavar="ALIAS|NUMBER", help="An alias or a version's number.")]


class Difference(NamedTuple):
    """`field`: as a filter names it where it can, "metrics.top1". A value is None where a version has none.

    `change`: the second number less the first; None where one of them is none.
    """

    field: str
    first: str | float | None
    second: str | float | None
    change: float | None = None


@alias_app.command("compare", epilog="Example: modelyard alias compare resnet production staging")
def compare(
    *,
    name: options.ModelArgument,
    first: Side,
    second: Side,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Show what differs between what two aliases, or versions, of a model stand for."""
    check_model_name(name)
    with Controller(controller) as yard:
        aliases = {alias.alias: alias.version for alias in get_aliases(yard, name)}
        versions = [get_version(yard, name, _resolve(name, side, aliases)) for side in (first, second)]
    differences = list(compute_differences(*versions))
    if as_json:
        sides = {"first": output.to_plain(versions[0]), "second": output.to_plain(versions[1])}
        output.print_json({**sides, "differences": [difference._asdict() for difference in differences]})
        return
    headers = [_header(side, version) for side, version in zip((first, second), versions, strict=True)]
    rows = [[_text(cell) for cell in difference[:3]] + [_signed(difference.change)] for difference in differences]
    output.print_table(["FIELD", *headers, "CHANGE"], rows, empty=f"{headers[0]} and {headers[1]} do not differ")


def compute_differences(first: Any, second: Any) -> Iterator[Difference]:
    """In the order in which people ask: metrics, parameters, what they take and give, where they came from, size."""
    if first.number == second.number:
        return
    for key, one, other in _pair(first.metrics, second.metrics):
        yield Difference(f"metrics.{key}", one, other, None if one is None or other is None else other - one)
    for field in ("parameters", "tags"):
        for key, one, other in _pair(getattr(first, field), getattr(second, field)):
            yield Difference(f"{field}.{key}", one, other)
    for key, one, other in _pair(_describe(first), _describe(second)):
        yield Difference(key, one, other)
    if first.size_bytes != second.size_bytes:
        yield Difference("size_bytes", first.size_bytes, second.size_bytes, second.size_bytes - first.size_bytes)


def _pair(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Key and both values where they differ, those that the first has in its order."""
    for key in [*first, *(key for key in second if key not in first)]:
        one, other = (side.get(key) for side in (first, second))
        if one != other:
            yield key, one, other


def _describe(version: Any) -> dict[str, str]:
    facts = {"format": format_name(version)}
    facts |= {key: str(value) for key, value in describe_details(version)}
    for side in ("inputs", "outputs"):
        facts |= {f"{side}.{spec.name}": describe_tensor(spec) for spec in getattr(version.signature, side)}
    source = {field.name: getattr(version.source, field.name) for field in version.source.DESCRIPTOR.fields}
    facts |= {f"source.{key}": value for key, value in source.items() if value}
    facts |= {"user": version.user, "description": version.description}
    return {key: value for key, value in facts.items() if value}


def _resolve(name: str, side: str, aliases: Mapping[str, int]) -> int:
    """The version's number. NotFoundError that tells which aliases there are."""
    if side.isascii() and side.isdigit() and len(side) < 19:
        return int(side)
    if check_alias_name(side) not in aliases:
        known = ", ".join(sorted(aliases)) or "none"
        raise NotFoundError(f"{name} has no alias {side!r}: give a version's number, or one of its aliases ({known})")
    return aliases[side]


def _header(side: str, version: Any) -> str:
    return version.model_id if side.isdigit() else f"{side} ({version.model_id})"


def _text(value: str | float | None) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value) if value is not None else ""


def _signed(change: float | None) -> str:
    if change is None:
        return ""
    if isinstance(change, int):
        return f"{'+' if change > 0 else '-'}{format_size(abs(change))}"
    return f"{change:+.4g}"
