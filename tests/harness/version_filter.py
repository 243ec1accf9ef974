"""Which versions a query asks for, and in what order, in plain Python: what the search in SQL is compared with."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any

from controlplane.domain import Version
from controlplane.registry import refusals
from controlplane.registry.version_query import (
    And,
    Comparison,
    Field,
    FieldKind,
    Filter,
    Not,
    Operator,
    Or,
    Order,
    VersionQuery,
    list_fields,
    parse_number,
)

AliasesOf = Callable[[Version], Collection[str]]
_OPERATORS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: lambda value, wanted: bool(value == wanted),
    Operator.NOT_EQUAL: lambda value, wanted: bool(value != wanted),
    Operator.LESS: lambda value, wanted: bool(value < wanted),
    Operator.AT_MOST: lambda value, wanted: bool(value <= wanted),
    Operator.GREATER: lambda value, wanted: bool(value > wanted),
    Operator.AT_LEAST: lambda value, wanted: bool(value >= wanted),
    Operator.CONTAINS: lambda value, wanted: _fold(wanted) in _fold(value),
}


def select_versions(query: VersionQuery, versions: Collection[Version], aliases_of: AliasesOf) -> list[Version]:
    """Those of `versions`, all that a registry has, that are asked for. InvalidArgumentError as of the registry."""
    for field in list_fields(query):
        _refuse_unknown(field, versions)
    found = [version for version in versions if _is_wanted(query, version, aliases_of)]
    newest_first = sorted(found, key=lambda version: (version.model, -version.number))
    return newest_first if query.order is None else _sort(newest_first, query.order)


def _refuse_unknown(field: Field, versions: Iterable[Version]) -> None:
    if field.kind is not FieldKind.COLUMN:
        keys = {key for version in versions for key in _entries(field.kind, version)}
        if field.name not in keys:
            raise refusals.unknown_key(field, sorted(keys))


def _is_wanted(query: VersionQuery, version: Version, aliases_of: AliasesOf) -> bool:
    if query.model not in ("", version.model) or (version.deleted_at is not None and not query.show_deleted):
        return False
    return query.filter is None or matches(query.filter, version, aliases_of(version))


def matches(wanted: Filter, version: Version, aliases: Collection[str]) -> bool:
    match wanted:
        case And(parts):
            return all(matches(part, version, aliases) for part in parts)
        case Or(parts):
            return any(matches(part, version, aliases) for part in parts)
        case Not(part):
            return not matches(part, version, aliases)
        case Comparison():
            return _holds(wanted, version, aliases)


def _holds(wanted: Comparison, version: Version, aliases: Collection[str]) -> bool:
    if wanted.field == Field(FieldKind.COLUMN, "alias"):
        if wanted.operator is Operator.NOT_EQUAL:
            return bool(aliases) and wanted.value not in aliases
        return any(_OPERATORS[wanted.operator](name, wanted.value) for name in aliases)
    value = _value_of(wanted.field, version)
    if isinstance(value, str) and isinstance(wanted.value, float):
        value = parse_number(value)
        if value is None:
            return wanted.operator is Operator.NOT_EQUAL
    return value is not None and _OPERATORS[wanted.operator](value, wanted.value)


def _fold(text: str) -> str:
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in text)


def _entries(kind: FieldKind, version: Version) -> Any:
    facts = version.facts
    return {FieldKind.METRIC: facts.metrics, FieldKind.PARAMETER: facts.parameters, FieldKind.TAG: facts.tags}[kind]


def _value_of(field: Field, version: Version) -> str | float | datetime | None:
    """None: it has none."""
    facts = version.facts
    if field.kind is not FieldKind.COLUMN:
        value: str | float | None = _entries(field.kind, version).get(field.name)
        return value
    columns: dict[str, str | float | datetime] = {
        "name": facts.model,
        "number": version.number,
        "format": facts.format.value,
        "user": facts.user,
        "created": version.created_at,
        "description": facts.description,
        "size_bytes": facts.size_bytes,
        "sha256": facts.sha256,
    }
    return columns[field.name]


def _sort(newest_first: list[Version], order: Order) -> list[Version]:
    """Stable, so versions of one value stay as they were."""
    ranks = {id(version): _rank(_value_of(order.field, version), order.field.kind) for version in newest_first}
    within = sorted(newest_first, key=lambda version: ranks[id(version)][1], reverse=order.descending)
    return sorted(within, key=lambda version: ranks[id(version)][0])


def _rank(value: Any, kind: FieldKind) -> tuple[int, Any]:
    """The group that it is in, which no direction turns round, and its place there."""
    if value is None:
        return 2, (0, b"", 0.0)
    if isinstance(value, datetime):
        return 0, (0, b"", value.timestamp())
    number = value if not isinstance(value, str) else None if kind is FieldKind.COLUMN else parse_number(value)
    if number is not None:
        return 0, (0, b"", number)
    return 1, (0, value.encode(), 0.0)
