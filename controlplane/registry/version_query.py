"""What versions are asked for: a filter, an order. Pure; `controlplane.registry.filter_language` makes it of text."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class ValueKind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    TIME = "time"


# What a version has of its own; "name" is its model, "alias" each alias that points to it.
COLUMNS = {
    "name": ValueKind.TEXT,
    "number": ValueKind.NUMBER,
    "alias": ValueKind.TEXT,
    "format": ValueKind.TEXT,
    "user": ValueKind.TEXT,
    "created": ValueKind.TIME,
    "description": ValueKind.TEXT,
    "size_bytes": ValueKind.NUMBER,
    "sha256": ValueKind.TEXT,
}


class FieldKind(StrEnum):
    COLUMN = "column"  # of the version itself; name: one of COLUMNS
    METRIC = "metric"
    PARAMETER = "parameter"
    TAG = "tag"


@dataclass(frozen=True)
class Field:
    """`name`: the column, or the key of the metric, parameter or tag."""

    kind: FieldKind
    name: str


class Operator(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="
    CONTAINS = "~"  # text, without regard to the case of A to Z


Value = str | float | datetime


@dataclass(frozen=True)
class Comparison:
    """A version without the field matches no comparison, NOT_EQUAL included.

    `value`: a time for "created"; a number for a metric, "number" and "size_bytes"; a text for the others. Parameters
    and tags take a number, too: it is compared with those that `parse_number` reads, and only NOT_EQUAL holds for the
    others. Texts know EQUAL, NOT_EQUAL and CONTAINS only. NOT_EQUAL of "alias": it has aliases, none of them this.
    """

    field: Field
    operator: Operator
    value: Value


@dataclass(frozen=True)
class And:
    parts: Sequence["Filter"]


@dataclass(frozen=True)
class Or:
    parts: Sequence["Filter"]


@dataclass(frozen=True)
class Not:
    part: "Filter"


Filter = Comparison | And | Or | Not


@dataclass(frozen=True)
class Order:
    """Versions without the field come last, in either direction; ties by model, the newest first.

    Text is ordered by its bytes in UTF-8, names of models as the database orders names. Of a parameter or tag numbers
    come before other text, in either direction.
    """

    field: Field
    descending: bool = False


@dataclass(frozen=True)
class VersionQuery:
    """`model`: "" for those of all models. `order`: None for the newest first, by model."""

    model: str = ""
    filter: Filter | None = None
    order: Order | None = None
    show_deleted: bool = False


def parse_number(text: str) -> float | None:
    """The number that a parameter or tag is, "1e-3" or "42"; None for other text, and what no float can hold."""
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def list_fields(query: VersionQuery) -> Sequence[Field]:
    """Those that its filter and its order name, each once."""
    fields = [] if query.order is None else [query.order.field]
    waiting = [] if query.filter is None else [query.filter]
    while waiting:
        match waiting.pop():
            case Comparison(field):
                fields.append(field)
            case Not(part):
                waiting.append(part)
            case And(parts) | Or(parts):
                waiting.extend(parts)
    return list(dict.fromkeys(fields))
