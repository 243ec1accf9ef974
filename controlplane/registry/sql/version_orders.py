"""Orders of versions, each cut into stretches that an index can be read along.

A stretch has one key; within it come ties by model, the newest first. The stretches of an order follow one another:
those with a number, those with other text, those with nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from controlplane.registry.sql.filter_sql import COLUMN_BY_NAME, Condition, is_entry, is_of_version
from controlplane.registry.sql.page_tokens import is_name, is_number
from controlplane.registry.sql.schema import version_values, versions
from controlplane.registry.sql.text import by_bytes
from controlplane.registry.version_query import COLUMNS, Field, FieldKind, Order, ValueKind

Key = str | float | int | datetime | None
# Names of models are in the order that the database itself has for them, for that is the order of its primary key.
_model, _number = versions.c.model, versions.c.number


@dataclass(frozen=True)
class Position:
    """That of a version in an order. `key` is as its stretch has it: None where that has none."""

    stretch: int
    key: Key
    model: str
    number: int

    def to_json(self) -> list[str | int | float | None]:
        key = self.key.isoformat() if isinstance(self.key, datetime) else self.key
        return [self.stretch, key, self.model, self.number]


@dataclass(frozen=True)
class Stretch:
    """`kind`: of `key`; both None: only ties. `entries`: the table beside `versions` that `key` is a column of."""

    kind: ValueKind | None = None
    key: sa.ColumnElement[Any] | None = None
    descending: bool = False
    entries: sa.FromClause | None = None
    condition: Condition | None = None

    def select(self, among: sa.FromClause | None, *conditions: Condition) -> sa.Select[Any]:
        """Rows of `versions`, with the key as `order_key`, in order; only those `among` has, unless that is None."""
        key = sa.null() if self.key is None else self.key
        begin = versions if among is None else among.join(versions, is_of_version(among))
        query = sa.select(versions, key.label("order_key")).select_from(begin).order_by(*self._order())
        if self.entries is not None:
            query = query.join(self.entries, is_of_version(self.entries))
        return query.where(*conditions) if self.condition is None else query.where(self.condition, *conditions)

    def is_behind(self, position: Position) -> Condition:
        """Whether a row comes later in this stretch, which `position` is in."""
        behind = sa.or_(_model > position.model, sa.and_(_model == position.model, _number < position.number))
        # The first part says nothing new: it is what an index can be entered by.
        behind = sa.and_(_model >= position.model, behind)
        if self.key is None:
            return behind
        if self.descending:
            beyond, from_here = self.key < position.key, self.key <= position.key
        else:
            beyond, from_here = self.key > position.key, self.key >= position.key
        return sa.and_(from_here, sa.or_(beyond, sa.and_(self.key == position.key, behind)))

    def _order(self) -> list[sa.ColumnElement[Any]]:
        ties: list[sa.ColumnElement[Any]] = [_model.asc(), _number.desc()]
        if self.key is None:
            return ties
        return [self.key.desc() if self.descending else self.key.asc(), *ties]


def list_stretches(order: Order | None) -> Sequence[Stretch]:
    if order is None:
        return [Stretch()]
    field, descending = order.field, order.descending
    if field.kind is FieldKind.COLUMN:
        column, kind = COLUMN_BY_NAME[field.name], COLUMNS[field.name]
        is_plain = kind is not ValueKind.TEXT or column is _model
        return [Stretch(kind, column if is_plain else by_bytes(column), descending)]
    return [*_list_entry_stretches(field, descending), Stretch(condition=~_has_entry(field))]


def _list_entry_stretches(field: Field, descending: bool) -> Sequence[Stretch]:
    entry = version_values.alias()
    number, text = entry.c.number_value, by_bytes(entry.c.text_value)
    numbers = sa.and_(is_entry(entry, field), number.is_not(None))
    stretches = [Stretch(ValueKind.NUMBER, number, descending, entry, numbers)]
    if field.kind is not FieldKind.METRIC:
        texts = sa.and_(is_entry(entry, field), number.is_(None))
        stretches.append(Stretch(ValueKind.TEXT, text, descending, entry, texts))
    return stretches


def _has_entry(field: Field) -> Condition:
    entry = version_values.alias()
    return sa.exists().where(is_of_version(entry), is_entry(entry, field))


def is_position(value: Any, stretches: Sequence[Stretch]) -> bool:
    """Whether `value` can be a `Position.to_json` of these stretches."""
    if not isinstance(value, list) or len(value) != 4:
        return False
    stretch, key, model, number = value
    is_stretch = type(stretch) is int and 0 <= stretch < len(stretches)
    return is_stretch and is_name(model) and is_number(number) and _is_key(key, stretches[stretch].kind)


def _is_key(key: object, kind: ValueKind | None) -> bool:
    match kind, key:
        case None, None:
            return True
        case ValueKind.NUMBER, int() | float() if not isinstance(key, bool):
            return math.isfinite(key) if isinstance(key, float) else abs(key) < 2**63
        case ValueKind.TEXT, str():
            return "\0" not in key and _is_encodable(key)
        case ValueKind.TIME, str():
            return _is_moment(key)
    return False


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_moment(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
        # In UTC, as the database is asked, the first and the last day that there are may have no name.
        return moment.tzinfo is not None and moment.astimezone(UTC) is not None
    except (ValueError, OverflowError):
        return False


def make_position(value: Any, stretches: Sequence[Stretch]) -> Position:
    """Of what `is_position` holds for."""
    stretch, key, model, number = value
    is_time = stretches[stretch].kind is ValueKind.TIME
    return Position(stretch, datetime.fromisoformat(key) if is_time else key, model, number)
