"""What the registry is asked for, save for versions by what they hold (search.py)."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from controlplane.domain import Alias, AliasMove, Model, Version, VersionChange
from controlplane.registry.page_bytes import count_bytes, cut_page
from controlplane.registry.sql.lookups import find_alias, find_model
from controlplane.registry.sql.page_tokens import make_page_token, parse_page_token
from controlplane.registry.sql.rows import alias_from_row
from controlplane.registry.sql.schema import alias_moves, aliases, models, version_changes, versions
from controlplane.registry.sql.streaming import stream
from controlplane.registry.sql.version_rows import change_from_row, move_from_row, version_from_row
from controlplane.registry.store import Page
from modelyard.resource_names import VersionName


def read_model(connection: sa.Connection, model: str) -> Model:
    row = find_model(connection, model)
    return next(_with_aliases([row], connection.execute(_select_aliases(model, model))))


def list_models(connection: sa.Connection, page_size: int, page_token: str) -> Page[Model]:
    after = parse_page_token("models", page_token, str)
    query = sa.select(models).order_by(models.c.name).limit(page_size + 1)
    if after is not None:
        query = query.where(models.c.name > after)
    rows = connection.execute(query).all()
    if not rows:
        return Page([], "")
    with stream(connection, _select_aliases(rows[0].name, rows[-1].name)) as of_these:
        items, has_more = cut_page(_with_aliases(rows, of_these), page_size, count_bytes)
    return Page(items, make_page_token("models", items[-1].name) if has_more else "")


def _select_aliases(first: str, last: str) -> sa.Select[Any]:
    """Of the models from one to another, in their order."""
    # Between two names, not IN: as many bound values as models would pass some databases' limit.
    of_these = aliases.c.model.between(first, last)
    return sa.select(aliases).where(of_these).order_by(aliases.c.model, aliases.c.name)


def _with_aliases(rows: Sequence[sa.Row[Any]], of_these: Iterable[sa.Row[Any]]) -> Iterator[Model]:
    """Both in the order of the models: of the aliases no more are read than those of the models that are taken."""
    by_model = groupby(map(alias_from_row, of_these), attrgetter("model"))
    named = next(by_model, None)
    for row in rows:
        found: tuple[Alias, ...] = ()
        if named and named[0] == row.name:
            found, named = tuple(named[1]), next(by_model, None)
        yield Model(row.name, row.latest_version, found, row.created_at)


def list_changes(connection: sa.Connection, version: Version, page_size: int, page_token: str) -> Page[VersionChange]:
    listing = f"changes of {version.model_id}"
    after = parse_page_token(listing, page_token, int) or 0
    query = _select_changes(version).where(version_changes.c.revision > after).order_by(version_changes.c.revision)
    with stream(connection, query.limit(page_size + 1)) as rows:
        items, has_more = cut_page(map(change_from_row, rows), page_size, count_bytes)
    return Page(items, make_page_token(listing, items[-1].revision) if has_more else "")


def read_last_change(connection: sa.Connection, version: Version) -> VersionChange | None:
    query = _select_changes(version).order_by(version_changes.c.revision.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else change_from_row(row)


def _select_changes(version: Version) -> sa.Select[Any]:
    of_version = (version_changes.c.model == version.model) & (version_changes.c.number == version.number)
    return sa.select(version_changes).where(of_version)


def find_content(connection: sa.Connection, sha256: str) -> Version | None:
    """Of several that which was there first."""
    same = (versions.c.sha256 == sha256) & versions.c.purged_at.is_(None)
    query = sa.select(versions).where(same).order_by(versions.c.created_at, versions.c.model).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else version_from_row(row)


def read_versions(connection: sa.Connection, names: Collection[VersionName]) -> Mapping[VersionName, Version]:
    among = sa.tuple_(versions.c.model, versions.c.number).in_(list(names))
    found = [version_from_row(row) for row in connection.execute(sa.select(versions).where(among))]
    return {VersionName(version.model, version.number): version for version in found}


def is_needed(
    connection: sa.Connection, sha256: str, without: Collection[VersionName], deleted_before: datetime | None
) -> bool:
    # Two questions: one with OR would let some databases read all versions.
    for column in (versions.c.sha256, versions.c.sample_sha256):
        needed = (column == sha256) & versions.c.purged_at.is_(None)
        if deleted_before is not None:
            needed &= versions.c.deleted_at.is_(None) | (versions.c.deleted_at > deleted_before)
        rows = connection.execute(sa.select(versions.c.model, versions.c.number).where(needed).limit(len(without) + 1))
        if any((row.model, row.number) not in without for row in rows):
            return True
    return False


def list_purgeable(
    connection: sa.Connection, deleted_before: datetime, limit: int, after: VersionName | None
) -> Sequence[Version]:
    is_ready = (versions.c.deleted_at <= deleted_before) & versions.c.purged_at.is_(None)
    query = sa.select(versions).where(is_ready).order_by(versions.c.model, versions.c.number).limit(limit)
    if after is not None:
        is_later = (versions.c.model > after.model) | (versions.c.number > after.number)
        query = query.where(versions.c.model >= after.model, is_later)
    with stream(connection, query) as rows:
        return cut_page(map(version_from_row, rows), limit, count_bytes)[0]


def list_moves(connection: sa.Connection, model: str, alias: str, page_size: int, page_token: str) -> Page[AliasMove]:
    listing = f"moves of {model}@{alias}"
    before = parse_page_token(listing, page_token, int)
    wanted = alias_moves.c.model == model
    if alias:
        wanted &= alias_moves.c.alias == alias
    if before is not None:
        wanted &= alias_moves.c.id < before
    query = sa.select(alias_moves).where(wanted).order_by(alias_moves.c.id.desc()).limit(page_size + 1)
    with stream(connection, query) as rows:
        found, has_more = cut_page(((row.id, move_from_row(row)) for row in rows), page_size, count_bytes)
    if not found and before is None:
        find_model(connection, model)
        if alias:
            find_alias(connection, model, alias)  # says that there never was one
    return Page([move for _, move in found], make_page_token(listing, found[-1][0]) if has_more else "")
