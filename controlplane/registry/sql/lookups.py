"""Reads that both stores share, each with the sentence for what is not there."""

from typing import Any

import sqlalchemy as sa

from controlplane.registry.near_names import describe_choice
from controlplane.registry.sql.schema import aliases, models, versions, yard
from modelyard.errors import NotFoundError


def find_model(connection: sa.Connection, model: str) -> sa.Row[Any]:
    """NotFoundError with the names that are near."""
    row = connection.execute(sa.select(models).where(models.c.name == model)).one_or_none()
    if row is None:
        names = connection.scalars(sa.select(models.c.name).order_by(models.c.name)).all()
        hint = describe_choice(model, names, "none is registered yet: modelyard register NAME PATH")
        raise NotFoundError(f"there is no model {model!r}; {hint}")
    return row


def find_version(connection: sa.Connection, model: str, number: int) -> sa.Row[Any]:
    """NotFoundError that tells which numbers there are."""
    latest: int = find_model(connection, model).latest_version
    of_model = (versions.c.model == model) & (versions.c.number == number)
    row = connection.execute(sa.select(versions).where(of_model)).one_or_none()
    if row is None:
        have = "version 1 only" if latest == 1 else f"versions 1 to {latest}"
        raise NotFoundError(f"{model!r} has no version {number}; it has {have}")
    return row


def find_alias(connection: sa.Connection, model: str, name: str) -> sa.Row[Any]:
    """NotFoundError that tells which aliases there are, and how to set this one."""
    find_model(connection, model)
    row = connection.execute(sa.select(aliases).where(is_alias(model, name))).one_or_none()
    if row is None:
        names = connection.scalars(sa.select(aliases.c.name).where(aliases.c.model == model)).all()
        have = f"it has {', '.join(sorted(names))}" if names else "it has none yet"
        raise NotFoundError(
            f"{model!r} has no alias {name!r} ({have}); modelyard alias set {model} {name} VERSION sets it"
        )
    return row


def is_alias(model: str, name: str) -> sa.ColumnElement[bool]:
    return (aliases.c.model == model) & (aliases.c.name == name)


def advance_revision(connection: sa.Connection, new_replicas: int = 0) -> int:
    """The revision after this write of deployments, aliases or replicas; `new_replicas` numbers are used up."""
    advanced = sa.update(yard).values(
        revision=yard.c.revision + 1, next_replica_number=yard.c.next_replica_number + new_replicas
    )
    revision: int = connection.execute(advanced.returning(yard.c.revision)).scalar_one()
    return revision
