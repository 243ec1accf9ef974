"""The tables of any revision of the schema, found out by running the migrations on an empty database in memory.

So a backup holds the yard's own tables and columns and nothing else that may be in the same database, and an older
backup is read by the schema that it was made with.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from controlplane.registry.sql.migrate import connect_database, run_migrations
from controlplane.registry.sql.schema import UtcDateTime


@dataclass(frozen=True)
class YardTable:
    """`columns` in their order; `key`: those of the primary key. `clause` reads and writes on either database."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    clause: sa.TableClause


def read_tables(revision: str) -> dict[str, YardTable]:
    """By name, each after those that it refers to. `revision`: one that this program knows."""
    database = connect_database("sqlite://")
    try:
        with database.changing_schema() as connection:
            run_migrations(connection, revision)
            found = sa.MetaData()
            found.reflect(connection)
    finally:
        database.close()
    return {table.name: _to_yard_table(table) for table in found.sorted_tables if table.name != "alembic_version"}


def _to_yard_table(table: sa.Table) -> YardTable:
    columns = tuple(table.columns)
    clause = sa.table(table.name, *(sa.column(column.name, _portable(column.type)) for column in columns))
    key = tuple(column.name for column in table.primary_key)
    return YardTable(table.name, tuple(column.name for column in columns), key, clause)


def _portable(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    match kind:
        case sa.DateTime():
            return UtcDateTime()
        case sa.JSON():
            return sa.JSON(none_as_null=True)
        case _:
            return kind.as_generic()
