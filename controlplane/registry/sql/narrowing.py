"""Where to begin a search: with the few versions that one part of the filter leaves, or with all of them, in order.

Of a filter that many versions meet the first page is found soon by going through all in order; of one that few meet,
by an index. Which it is, is counted: planners guess, and are far off for values that share a column with others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from controlplane.registry.sql.filter_sql import COLUMN_BY_NAME, is_entry, match_entry
from controlplane.registry.sql.schema import aliases, version_values, versions
from controlplane.registry.version_query import And, Comparison, FieldKind, Filter, Operator, Or

# To look at so many costs what it costs to find a page of 100 among twenty times as many.
_FEW = 5_000
_BY_INDEX = (Operator.EQUAL, Operator.LESS, Operator.AT_MOST, Operator.GREATER, Operator.AT_LEAST)


@dataclass(frozen=True)
class _Few:
    count: int
    versions: sa.Select[Any] | sa.CompoundSelect[Any]  # model, number


def find_few(connection: sa.Connection, wanted: Filter) -> sa.Subquery | None:
    """`model` and `number` of all versions that can meet the filter, where indexes tell them and they are few."""
    few = _find(connection, wanted)
    return None if few is None else few.versions.subquery()


def _find(connection: sa.Connection, wanted: Filter) -> _Few | None:
    match wanted:
        case And(parts):
            return min(_find_each(connection, parts), key=lambda few: few.count, default=None)
        case Or(parts):
            each = list(_find_each(connection, parts))
            total = sum(few.count for few in each)
            if len(each) < len(parts) or total > _FEW:
                return None
            return _Few(total, sa.union(*(sa.select(few.versions.subquery()) for few in each)))
        case Comparison() if (found := _select(wanted)) is not None:
            count = _count(connection, found)
            return _Few(count, _limit(found, count)) if count <= _FEW else None
    return None


def _find_each(connection: sa.Connection, parts: Sequence[Filter]) -> Iterator[_Few]:
    return (few for part in parts if (few := _find(connection, part)) is not None)


def _select(wanted: Comparison) -> sa.Select[Any] | None:
    """None where no index helps."""
    if wanted.field.kind is not FieldKind.COLUMN and wanted.operator in _BY_INDEX:
        entries = sa.select(version_values.c.model, version_values.c.number)
        return entries.where(is_entry(version_values, wanted.field), match_entry(version_values, wanted))
    if wanted.field.kind is not FieldKind.COLUMN or wanted.operator is not Operator.EQUAL:
        return None
    match wanted.field.name:
        case "alias":
            return sa.select(aliases.c.model, aliases.c.version.label("number")).where(aliases.c.name == wanted.value)
        case "name" | "sha256":
            column = COLUMN_BY_NAME[wanted.field.name]
            return sa.select(versions.c.model, versions.c.number).where(column == wanted.value)
    return None


def _count(connection: sa.Connection, found: sa.Select[Any]) -> int:
    """At most one more than _FEW."""
    some = found.limit(_FEW + 1).subquery()
    return connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def _limit(found: sa.Select[Any], count: int) -> sa.Select[Any]:
    """`found`, of which there are `count`: the limit cuts off nothing, it only tells the planner."""
    # A planner takes a part with a limit for as small as that is, and begins with it. But for a part of which it is to
    # get only some it may go through the whole table: hence all first, apart from the rest, and then the limit. It is
    # written into the statement when that is sent, for of a parameter the plan would know nothing.
    apart = found.cte().prefix_with("MATERIALIZED")
    return sa.select(apart).limit(sa.bindparam(None, count, sa.Integer(), literal_execute=True))
