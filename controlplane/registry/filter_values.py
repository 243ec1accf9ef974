"""What stands on both sides of an operator of the filter language: fields that there are, values that fit them."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day

from controlplane.domain import ModelFormat
from controlplane.registry.near_names import describe_choice, find_near
from controlplane.registry.version_query import (
    COLUMNS,
    And,
    Comparison,
    Field,
    FieldKind,
    Filter,
    Operator,
    Or,
    ValueKind,
    parse_number,
)
from modelyard.errors import InvalidArgumentError

_KEYED = {
    "metrics": FieldKind.METRIC,
    "parameters": FieldKind.PARAMETER,
    "params": FieldKind.PARAMETER,
    "tags": FieldKind.TAG,
}
_SYNONYMS = {"time": "created"}
_FIELDS = f"{', '.join(COLUMNS)}, metrics.KEY, parameters.KEY and tags.KEY"
_SHOWN = 100
_TEXT_OPERATORS = (Operator.EQUAL, Operator.NOT_EQUAL, Operator.CONTAINS)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|z|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True)
class Written:
    """A value as it was typed, without its quotes."""

    text: str
    is_quoted: bool

    def __str__(self) -> str:
        shown = self.text[:_SHOWN]
        return f'"{shown}"' if self.is_quoted else shown


def read_field(name: str, quoted_key: str | None = None) -> Field:
    """`name`: "format" or "metrics.accuracy"; "metrics." with the key behind it. InvalidArgumentError."""
    head, _, key = name.partition(".")
    key = key if quoted_key is None else key + quoted_key
    if name in COLUMNS or name in _SYNONYMS:
        return Field(FieldKind.COLUMN, _SYNONYMS.get(name, name))
    if head in _KEYED and key:
        return Field(_KEYED[head], key)
    if head in _KEYED:
        raise InvalidArgumentError(f'{head} has no key; say which one, as in {head}.KEY or {head}."a key"')
    near = find_near(head, [*COLUMNS, *_SYNONYMS, *_KEYED])
    hint = f"did you mean {', '.join(near)}? The" if near else "the"
    raise InvalidArgumentError(f"there is no field {name[:_SHOWN]!r}; {hint} fields are {_FIELDS}")


def describe_field(field: Field) -> str:
    """As people type it."""
    if field.kind is FieldKind.COLUMN:
        return field.name
    plain = re.fullmatch(r"""[^\s()"'=!<>~]+""", field.name)
    return f"{field.kind}s.{field.name}" if plain else f'{field.kind}s."{field.name}"'


def make_comparison(field: Field, operator: Operator, value: Written) -> Filter:
    """InvalidArgumentError where the two sides do not go together."""
    if field.kind in (FieldKind.PARAMETER, FieldKind.TAG):
        return _compare_entry(field, operator, value)
    match ValueKind.NUMBER if field.kind is FieldKind.METRIC else COLUMNS[field.name]:
        case ValueKind.NUMBER:
            return _compare_number(field, operator, value)
        case ValueKind.TIME:
            return _compare_time(field, operator, value)
        case ValueKind.TEXT:
            return _compare_text(field, operator, value)


def _compare_number(field: Field, operator: Operator, value: Written) -> Filter:
    name, number = describe_field(field), None if value.is_quoted else parse_number(value.text)
    if operator is Operator.CONTAINS or number is None:
        raise InvalidArgumentError(
            f"{name} is a number: compare it with one, as in {name} > 0.9; not {operator} {value}"
        )
    return Comparison(field, operator, number)


def _compare_text(field: Field, operator: Operator, value: Written) -> Filter:
    if operator not in _TEXT_OPERATORS:
        raise InvalidArgumentError(
            f"{field.name} is text, which {operator} does not compare; use =, != or ~ (contains)"
        )
    formats = [known.value for known in ModelFormat]
    if field.name == "format" and operator is not Operator.CONTAINS and value.text not in formats:
        hint = describe_choice(value.text, formats, "")
        raise InvalidArgumentError(f"there is no format {value.text[:_SHOWN]!r}; {hint}")
    return Comparison(field, operator, value.text)


def _compare_entry(field: Field, operator: Operator, value: Written) -> Filter:
    """Of a parameter or tag: a bare number means a number, anything else text."""
    number = None if value.is_quoted else parse_number(value.text)
    if operator in _TEXT_OPERATORS:
        is_number = number is not None and operator is not Operator.CONTAINS
        return Comparison(field, operator, number if is_number and number is not None else value.text)
    if number is None:
        name = describe_field(field)
        raise InvalidArgumentError(
            f"{operator} compares numbers, and {value} is text; write {name} {operator} 0.9, "
            "or compare text with =, != or ~ (contains)"
        )
    return Comparison(field, operator, number)


def _compare_time(field: Field, operator: Operator, value: Written) -> Filter:
    if operator is not Operator.CONTAINS:
        try:
            if _DATE.fullmatch(value.text):
                return _compare_day(field, operator, date.fromisoformat(value.text))
            if _MOMENT.fullmatch(value.text):
                return Comparison(field, operator, datetime.fromisoformat(value.text.upper()).astimezone(UTC))
        except (ValueError, OverflowError):
            pass  # it has the form of a time, but there is none such
    raise InvalidArgumentError(
        f"{field.name} is a time: compare it with a day, as in {field.name} >= 2026-01-31, or with a moment and its "
        f"zone, as in 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+09:00; not {operator} {value}"
    )


def _compare_day(field: Field, operator: Operator, day: date) -> Filter:
    """A day is all of it, in UTC: what is later than the day is so from the next one on."""
    begin = datetime.combine(day, time_of_day(), UTC)
    end = begin + timedelta(days=1)
    match operator:
        case Operator.EQUAL:
            return And((Comparison(field, Operator.AT_LEAST, begin), Comparison(field, Operator.LESS, end)))
        case Operator.NOT_EQUAL:
            return Or((Comparison(field, Operator.LESS, begin), Comparison(field, Operator.AT_LEAST, end)))
        case Operator.GREATER:
            return Comparison(field, Operator.AT_LEAST, end)
        case Operator.AT_MOST:
            return Comparison(field, Operator.LESS, end)
        case _:
            return Comparison(field, operator, begin)
