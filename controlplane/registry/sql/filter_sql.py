"""A filter of versions as a condition of SQL that is true or false of a row of `versions`, never null."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from controlplane.registry.sql.schema import aliases, version_values, versions
from controlplane.registry.sql.text import contains
from controlplane.registry.sql.version_values import PREFIX_CHARACTERS
from controlplane.registry.version_query import (
    COLUMNS,
    And,
    Comparison,
    Field,
    FieldKind,
    Filter,
    Not,
    Operator,
    Or,
    ValueKind,
)

Condition = sa.ColumnElement[bool]
_OPERATORS: Mapping[Operator, Callable[[Any, Any], Condition]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.CONTAINS: contains,
}
# Of the fields of COLUMNS, save "alias".
COLUMN_BY_NAME: Mapping[str, sa.Column[Any]] = {
    "name": versions.c.model,
    "number": versions.c.number,
    "format": versions.c.format,
    "user": versions.c.user_name,
    "created": versions.c.created_at,
    "description": versions.c.description,
    "size_bytes": versions.c.size_bytes,
    "sha256": versions.c.sha256,
}


def make_condition(wanted: Filter) -> Condition:
    match wanted:
        case And(parts):
            return sa.and_(*map(make_condition, parts))
        case Or(parts):
            return sa.or_(*map(make_condition, parts))
        case Not(part):
            return sa.not_(make_condition(part))
        case Comparison(field):
            return _compare_column(wanted) if field.kind is FieldKind.COLUMN else _compare_entry(wanted)


def is_entry(entries: sa.FromClause, field: Field) -> Condition:
    """Whether a row of `entries`, of the columns of `version_values`, is that of the metric, parameter or tag."""
    return sa.and_(entries.c.kind == field.kind.value, entries.c.key == field.name)


def is_of_version(entries: sa.FromClause) -> Condition:
    return sa.and_(entries.c.model == versions.c.model, entries.c.number == versions.c.number)


def match_entry(entries: sa.FromClause, wanted: Comparison) -> Condition:
    """Whether a row of the wanted metric, parameter or tag holds; null is no."""
    value = wanted.value
    if not isinstance(value, float):
        return _match_text(entries, wanted.operator, str(value))
    if wanted.operator is Operator.NOT_EQUAL:  # text that is no number is another value, too
        differs: Condition = entries.c.number_value.is_distinct_from(value)
        return differs
    return _OPERATORS[wanted.operator](entries.c.number_value, value)


def _match_text(entries: sa.FromClause, operator_: Operator, text: str) -> Condition:
    same_prefix = entries.c.text_prefix == text[:PREFIX_CHARACTERS]
    if operator_ is not Operator.EQUAL:
        return _OPERATORS[operator_](entries.c.text_value, text)
    # One of both where it says all: a planner would take two for rarer than they are.
    is_whole = len(text) < PREFIX_CHARACTERS
    return same_prefix if is_whole else sa.and_(same_prefix, entries.c.text_value == text)


def _compare_entry(wanted: Comparison) -> Condition:
    # A value that is looked up for each version, not EXISTS: planners make a join of that, in an order of their own,
    # which without fresh statistics has cost minutes where the first page of 100 is found in milliseconds.
    entry = version_values.alias()
    matches = sa.select(match_entry(entry, wanted)).where(is_of_version(entry), is_entry(entry, wanted.field))
    return sa.func.coalesce(matches.scalar_subquery(), sa.false())


def _compare_column(wanted: Comparison) -> Condition:
    if wanted.field.name == "alias":
        return _compare_alias(wanted.operator, str(wanted.value))
    value: Any = wanted.value
    if COLUMNS[wanted.field.name] is ValueKind.NUMBER:
        value = sa.literal(value, sa.Double())  # not as the column's whole numbers: it may have a fraction
    return _OPERATORS[wanted.operator](COLUMN_BY_NAME[wanted.field.name], value)


def _compare_alias(operator_: Operator, name: str) -> Condition:
    pointing = sa.exists().where(aliases.c.model == versions.c.model, aliases.c.version == versions.c.number)
    if operator_ is Operator.NOT_EQUAL:
        return sa.and_(pointing, ~pointing.where(aliases.c.name == name))
    return pointing.where(_OPERATORS[operator_](aliases.c.name, name))
