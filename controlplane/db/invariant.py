"""The form of what must be so in a yard's database at any moment: a query for that which is not so.

Each query takes all rows at once, so that a yard of 100,000 versions is checked in seconds on either database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from controlplane.registry.sql.schema import versions

Row = sa.Row[Any]
RESTORE = "restore a backup from before that: modelyard db restore FILE --replace"


@dataclass(frozen=True)
class Invariant:
    """`query` finds what breaks it; `describe` makes a sentence of a row, which says what to do."""

    name: str
    query: sa.Select[Any] | sa.CompoundSelect[Any]
    describe: Callable[[Row], str]


def of_version(table: sa.Table, number: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Joins `table` to the versions that its rows speak of."""
    return (table.c.model == versions.c.model) & (number == versions.c.number)


def newest_of(table: sa.Table) -> sa.Subquery:
    """The last row of `table`, which only grows, for each alias."""
    key = (table.c.model, table.c.alias)
    newest = sa.select(sa.func.max(table.c.id).label("id")).group_by(*key).subquery()
    # Joined, not IN: SQLite would look through all of them for each alias.
    return sa.select(table).join(newest, newest.c.id == table.c.id).subquery()
