"""Finds versions: by filter, in order, page by page.

A page begins behind the last version of the one before, not after so many: what is registered between two pages moves
no other version from one to another.
"""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing

import sqlalchemy as sa

from controlplane.domain import Version
from controlplane.registry import refusals
from controlplane.registry.page_bytes import count_bytes, cut_page
from controlplane.registry.sql.filter_sql import Condition, is_entry, make_condition
from controlplane.registry.sql.likely_names import select_likely
from controlplane.registry.sql.narrowing import find_few
from controlplane.registry.sql.page_tokens import make_page_token, parse_page_key
from controlplane.registry.sql.schema import version_values, versions
from controlplane.registry.sql.streaming import stream
from controlplane.registry.sql.version_orders import (
    Position,
    Stretch,
    is_position,
    list_stretches,
    make_position,
)
from controlplane.registry.sql.version_rows import version_from_row
from controlplane.registry.store import Page
from controlplane.registry.version_query import Field, FieldKind, VersionQuery, list_fields


def find_versions(connection: sa.Connection, query: VersionQuery, page_size: int, page_token: str) -> Page[Version]:
    """InvalidArgumentError for a token of another query, and for a metric, parameter or tag that no version has."""
    stretches, listing = list_stretches(query.order), _describe(query)
    last = parse_page_key(listing, page_token, lambda key: is_position(key, stretches))
    for field in list_fields(query):
        _refuse_unknown(connection, field)
    behind = None if last is None else make_position(last, stretches)
    with closing(_read(connection, query, stretches, behind, page_size + 1)) as rows:
        found, has_more = cut_page(rows, page_size, lambda row: count_bytes(row[1]))
    items = [version for _, version in found]
    return Page(items, make_page_token(listing, found[-1][0].to_json()) if has_more else "")


def _describe(query: VersionQuery) -> str:
    """The same for the same query only."""
    return f"versions {hashlib.sha256(repr(query).encode()).hexdigest()[:32]}"


def _read(
    connection: sa.Connection, query: VersionQuery, stretches: Sequence[Stretch], behind: Position | None, limit: int
) -> Generator[tuple[Position, Version], None, None]:
    """At most `limit`, each with where it is: one is read from the database after the other, for they may be large."""
    conditions = _list_conditions(query)
    among = None if query.model or query.filter is None else find_few(connection, query.filter)
    for index in range(behind.stretch if behind else 0, len(stretches)):
        stretch = stretches[index]
        later = [stretch.is_behind(behind)] if behind is not None and behind.stretch == index else []
        with stream(connection, stretch.select(among, *conditions, *later).limit(limit)) as rows:
            for row in rows:
                limit -= 1
                yield Position(index, row.order_key, row.model, row.number), version_from_row(row)
        if limit == 0:
            return


def _list_conditions(query: VersionQuery) -> list[Condition]:
    conditions: list[Condition] = []
    if query.model:
        conditions.append(versions.c.model == query.model)
    if not query.show_deleted:
        conditions.append(versions.c.deleted_at.is_(None))
    if query.filter is not None:
        conditions.append(make_condition(query.filter))
    return conditions


def _refuse_unknown(connection: sa.Connection, field: Field) -> None:
    if field.kind is FieldKind.COLUMN:
        return
    with_it = sa.select(version_values.c.key).where(is_entry(version_values, field)).limit(1)
    if connection.execute(with_it).first() is None:
        of_kind = sa.select(version_values.c.key.label("name")).where(version_values.c.kind == field.kind.value)
        likely = select_likely(of_kind.distinct(), field.name)
        raise refusals.unknown_key(field, connection.scalars(likely).all())
