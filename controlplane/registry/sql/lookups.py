"""Reads that both stores share, each with the sentence for what is not there."""

from typing import Any

import sqlalchemy as sa

from controlplane.domain import Alias, Deployment, DeploymentKey, Version
from controlplane.registry.refusals import describe_deletion, no_alias, no_model, no_version
from controlplane.registry.sql.likely_names import select_likely
from controlplane.registry.sql.rows import alias_from_row, deployment_from_row
from controlplane.registry.sql.schema import aliases, deployments, models, versions, yard
from controlplane.registry.sql.version_rows import version_from_row
from modelyard.errors import NotFoundError


def find_model(connection: sa.Connection, model: str) -> sa.Row[Any]:
    """NotFoundError with the names that are near."""
    row = connection.execute(sa.select(models).where(models.c.name == model)).one_or_none()
    if row is None:
        raise no_model(model, connection.scalars(select_likely(sa.select(models.c.name), model)).all())
    return row


def find_version(connection: sa.Connection, model: str, number: int) -> Version:
    """Deleted or not. NotFoundError that tells which numbers there are."""
    row = connection.execute(sa.select(versions).where(is_version(model, number))).one_or_none()
    if row is None:
        raise no_version(model, number, find_model(connection, model).latest_version)
    return version_from_row(row)


def find_usable_version(connection: sa.Connection, model: str, number: int) -> Version:
    """NotFoundError, which says what to do, for one that is deleted, too."""
    version = find_version(connection, model, number)
    if version.deleted_at is not None:
        raise NotFoundError(describe_deletion(version))
    return version


def find_alias(connection: sa.Connection, model: str, name: str) -> Alias:
    """NotFoundError that tells which aliases there are, and how to set this one."""
    alias = read_alias(connection, model, name)
    if alias is None:
        find_model(connection, model)
        raise no_alias(model, name, connection.scalars(sa.select(aliases.c.name).where(aliases.c.model == model)).all())
    return alias


def read_alias(connection: sa.Connection, model: str, name: str) -> Alias | None:
    row = connection.execute(sa.select(aliases).where(is_alias(model, name))).one_or_none()
    return None if row is None else alias_from_row(row)


def read_deployment(connection: sa.Connection, key: DeploymentKey) -> Deployment | None:
    row = connection.execute(sa.select(deployments).where(is_deployment(key))).one_or_none()
    return None if row is None else deployment_from_row(row)


def is_version(model: str, number: int) -> sa.ColumnElement[bool]:
    return (versions.c.model == model) & (versions.c.number == number)


def is_alias(model: str, name: str) -> sa.ColumnElement[bool]:
    return (aliases.c.model == model) & (aliases.c.name == name)


def is_deployment(key: DeploymentKey) -> sa.ColumnElement[bool]:
    return (deployments.c.model == key.model) & (deployments.c.alias == key.alias)


def advance_revision(connection: sa.Connection, new_replicas: int = 0) -> int:
    """The revision after this write of deployments, aliases or replicas; `new_replicas` numbers are used up."""
    advanced = sa.update(yard).values(
        revision=yard.c.revision + 1, next_replica_number=yard.c.next_replica_number + new_replicas
    )
    revision: int = connection.execute(advanced.returning(yard.c.revision)).scalar_one()
    return revision
