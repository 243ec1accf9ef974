"""Models, versions and aliases in SQL: implements controlplane.registry.store.RegistryStore."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from controlplane.domain import Alias, Model, Version, VersionDraft
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.lookups import advance_revision, find_alias, find_model, find_version, is_alias
from controlplane.registry.sql.page_tokens import make_page_token, parse_page_token
from controlplane.registry.sql.rows import alias_from_row, draft_to_values, version_from_row
from controlplane.registry.sql.schema import alias_moves, aliases, deployments, models, versions
from controlplane.registry.store import Page
from modelyard.errors import AlreadyExistsError, FailedPreconditionError
from modelyard.resource_names import model_id


class SqlRegistryStore:
    """The protocol's docstrings hold; every call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check_new(self, model: str, sha256: str) -> None:
        with self._database.reading() as connection:
            _refuse_known_bytes(connection, model, sha256)

    def create_version(self, draft: VersionDraft, now: datetime) -> Version:
        with self._database.writing() as connection:
            _refuse_known_bytes(connection, draft.model, draft.sha256)
            number = _next_number(connection, draft.model, now)
            values = {**draft_to_values(draft), "number": number, "created_at": now, "recorded": False}
            connection.execute(sa.insert(versions).values(values))
        return Version(number=number, facts=draft, created_at=now)

    def get_model(self, model: str) -> Model:
        with self._database.reading() as connection:
            return _with_aliases(connection, [find_model(connection, model)])[0]

    def list_models(self, page_size: int, page_token: str) -> Page[Model]:
        after = parse_page_token("models", page_token, str)
        query = sa.select(models).order_by(models.c.name).limit(page_size + 1)
        if after is not None:
            query = query.where(models.c.name > after)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            items = _with_aliases(connection, rows[:page_size])
        return Page(items, make_page_token("models", items[-1].name) if len(rows) > page_size else "")

    def get_version(self, model: str, number: int) -> Version:
        with self._database.reading() as connection:
            return version_from_row(find_version(connection, model, number))

    def list_versions(self, model: str, page_size: int, page_token: str) -> Page[Version]:
        listing = f"versions of {model}"
        before = parse_page_token(listing, page_token, int)
        query = sa.select(versions).where(versions.c.model == model)
        if before is not None:
            query = query.where(versions.c.number < before)
        with self._database.reading() as connection:
            find_model(connection, model)
            rows = connection.execute(query.order_by(versions.c.number.desc()).limit(page_size + 1)).all()
        items = [version_from_row(row) for row in rows[:page_size]]
        return Page(items, make_page_token(listing, items[-1].number) if len(rows) > page_size else "")

    def set_alias(self, alias: Alias) -> Alias:
        with self._database.writing() as connection:
            find_version(connection, alias.model, alias.version)
            before = connection.execute(sa.select(aliases).where(is_alias(alias.model, alias.name))).one_or_none()
            if before is not None and before.version == alias.version:
                return alias_from_row(before)
            _point(connection, alias, exists=before is not None)
            _keep_move(connection, alias, None if before is None else before.version, alias.version)
            advance_revision(connection)
        return alias

    def delete_alias(self, model: str, name: str, user: str, reason: str, now: datetime) -> None:
        with self._database.writing() as connection:
            version = find_alias(connection, model, name).version
            _refuse_deployed(connection, model, name)
            connection.execute(sa.delete(aliases).where(is_alias(model, name)))
            _keep_move(connection, Alias(model, name, version, now, user, reason), version, None)
            advance_revision(connection)

    def list_for_lineage(self, recorded: bool, after: tuple[str, int], limit: int) -> Sequence[Version]:
        key = sa.tuple_(versions.c.model, versions.c.number)
        wanted = (versions.c.recorded == recorded) & (key > after)
        query = sa.select(versions).where(wanted).order_by(versions.c.model, versions.c.number).limit(limit)
        with self._database.reading() as connection:
            return [version_from_row(row) for row in connection.execute(query)]

    def mark_recorded(self, model: str, number: int, recorded: bool) -> None:
        with self._database.writing() as connection:
            is_it = (versions.c.model == model) & (versions.c.number == number)
            connection.execute(sa.update(versions).where(is_it).values(recorded=recorded))


def _refuse_known_bytes(connection: sa.Connection, model: str, sha256: str) -> None:
    same = (versions.c.model == model) & (versions.c.sha256 == sha256)
    number = connection.scalar(sa.select(versions.c.number).where(same))
    if number is not None:
        raise AlreadyExistsError(f"{model_id(model, number)} has exactly these bytes already; use it as it is")


def _next_number(connection: sa.Connection, model: str, now: datetime) -> int:
    # Kept with the model, not counted: a number must never be given away twice.
    counted = sa.update(models).where(models.c.name == model).values(latest_version=models.c.latest_version + 1)
    number = connection.scalar(counted.returning(models.c.latest_version))
    if number is None:
        connection.execute(sa.insert(models).values(name=model, latest_version=1, created_at=now))
        return 1
    return int(number)


def _with_aliases(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Model]:
    # Between two names, not IN: as many bound values as models would pass some databases' limit.
    if not rows:
        return []
    of_these = aliases.c.model.between(rows[0].name, rows[-1].name)
    by_model: dict[str, list[Alias]] = {}
    for row in connection.execute(sa.select(aliases).where(of_these).order_by(aliases.c.model, aliases.c.name)):
        by_model.setdefault(row.model, []).append(alias_from_row(row))
    return [Model(row.name, row.latest_version, tuple(by_model.get(row.name, ())), row.created_at) for row in rows]


def _point(connection: sa.Connection, alias: Alias, exists: bool) -> None:
    values = {
        "version": alias.version,
        "user_name": alias.user,
        "reason": alias.reason,
        "moved_at": alias.moved_at,
    }
    if exists:
        connection.execute(sa.update(aliases).where(is_alias(alias.model, alias.name)).values(values))
    else:
        connection.execute(sa.insert(aliases).values(model=alias.model, name=alias.name, **values))


def _keep_move(connection: sa.Connection, alias: Alias, from_version: int | None, to_version: int | None) -> None:
    move = {
        "model": alias.model,
        "alias": alias.name,
        "from_version": from_version,
        "to_version": to_version,
        "user_name": alias.user,
        "reason": alias.reason,
        "moved_at": alias.moved_at,
    }
    connection.execute(sa.insert(alias_moves).values(move))


def _refuse_deployed(connection: sa.Connection, model: str, name: str) -> None:
    serves = (deployments.c.model == model) & (deployments.c.alias == name)
    if connection.scalar(sa.select(deployments.c.model).where(serves)) is not None:
        raise FailedPreconditionError(
            f"{model!r} is deployed by its alias {name!r}; first run: modelyard undeploy {model} --alias {name}"
        )
