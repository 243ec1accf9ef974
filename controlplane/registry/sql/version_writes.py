"""How a version is made, changed, deleted, restored and purged. Each function is within its caller's transaction."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from controlplane.domain import Author, FactKind, Version, VersionChange, VersionDraft, VersionEdit
from controlplane.registry.refusals import (
    changed_since,
    deleted_lately,
    known_bytes,
    not_editable,
    not_purgeable,
    not_restorable,
    pointed_to,
    served,
)
from controlplane.registry.sql.fact_journal import add_fact
from controlplane.registry.sql.lookups import find_usable_version, find_version, is_version
from controlplane.registry.sql.reads import read_last_change
from controlplane.registry.sql.schema import aliases, models, replicas, version_changes, versions
from controlplane.registry.sql.version_rows import changeable_to_values, draft_to_values
from controlplane.registry.sql.version_values import insert_values, replace_values
from controlplane.registry.version_edits import compute_edit


def refuse_known_bytes(connection: sa.Connection, model: str, sha256: str) -> None:
    same = (versions.c.model == model) & (versions.c.sha256 == sha256) & versions.c.purged_at.is_(None)
    row = connection.execute(sa.select(versions.c.number, versions.c.deleted_at).where(same)).one_or_none()
    if row is not None:
        raise known_bytes(model, row.number, row.deleted_at is not None)


def create(connection: sa.Connection, draft: VersionDraft, now: datetime) -> Version:
    refuse_known_bytes(connection, draft.model, draft.sha256)
    number = _next_number(connection, draft.model, now)
    values = {**draft_to_values(draft), "number": number, "created_at": now, "revision": 0}
    connection.execute(sa.insert(versions).values(values))
    insert_values(connection, draft, number)
    add_fact(connection, FactKind.REGISTERED, (draft.model, number), Author(now, draft.user))
    return Version(number=number, facts=draft, created_at=now)


def _next_number(connection: sa.Connection, model: str, now: datetime) -> int:
    # Kept with the model, not counted: a number must never be given away twice.
    counted = sa.update(models).where(models.c.name == model).values(latest_version=models.c.latest_version + 1)
    number = connection.scalar(counted.returning(models.c.latest_version))
    if number is None:
        connection.execute(sa.insert(models).values(name=model, latest_version=1, created_at=now))
        return 1
    return int(number)


def edit(
    connection: sa.Connection, model: str, number: int, wanted: VersionEdit, author: Author, *, expected: int | None
) -> Version:
    before = find_version(connection, model, number)
    if before.deleted_at is not None:
        raise not_editable(before)
    if expected is not None and expected != before.revision:
        raise changed_since(before, expected, read_last_change(connection, before))
    facts, changes = compute_edit(before, wanted)
    if not changes:
        return before
    after = replace(before, facts=facts, revision=before.revision + 1)
    _update(connection, after, revision=after.revision, **changeable_to_values(facts))
    replace_values(connection, facts, number)
    _keep_change(connection, after, VersionChange(after.revision, author, changes))
    return after


def _keep_change(connection: sa.Connection, version: Version, change: VersionChange) -> None:
    values = {
        "model": version.model,
        "number": version.number,
        "revision": change.revision,
        "changes": change.changes,
        "user_name": change.author.user,
        "reason": change.author.reason,
        "changed_at": change.author.at,
    }
    connection.execute(sa.insert(version_changes).values(values))
    details = {"revision": change.revision, "changes": change.changes}
    add_fact(connection, FactKind.CHANGED, (version.model, version.number), change.author, details=details)


def delete(connection: sa.Connection, model: str, number: int, author: Author) -> Version:
    version = find_usable_version(connection, model, number)
    _refuse_used(connection, version)
    return _pass_to(connection, replace(version, deleted_at=author.at), FactKind.DELETED, author)


def _refuse_used(connection: sa.Connection, version: Version) -> None:
    # A deployment has the version that its alias points to, so the aliases tell of it, too.
    pointing = (aliases.c.model == version.model) & (aliases.c.version == version.number)
    if names := connection.scalars(sa.select(aliases.c.name).where(pointing).order_by(aliases.c.name)).all():
        raise pointed_to(version, names)
    having = (replicas.c.model == version.model) & (replicas.c.version == version.number)
    ids = connection.scalars(sa.select(replicas.c.replica_id).where(having).order_by(replicas.c.replica_id)).all()
    if ids:
        raise served(version, ids)


def restore(connection: sa.Connection, model: str, number: int, author: Author) -> Version:
    version = find_version(connection, model, number)
    if version.deleted_at is None or version.purged_at is not None:
        raise not_restorable(version)
    return _pass_to(connection, replace(version, deleted_at=None), FactKind.RESTORED, author)


def purge(
    connection: sa.Connection, model: str, number: int, author: Author, deleted_before: datetime | None
) -> Version:
    version = find_version(connection, model, number)
    if version.deleted_at is None or version.purged_at is not None:
        raise not_purgeable(version)
    if deleted_before is not None and version.deleted_at > deleted_before:
        raise deleted_lately(version)
    return _pass_to(connection, replace(version, purged_at=author.at), FactKind.PURGED, author)


def _pass_to(connection: sa.Connection, version: Version, kind: FactKind, author: Author) -> Version:
    _update(connection, version, deleted_at=version.deleted_at, purged_at=version.purged_at)
    add_fact(connection, kind, (version.model, version.number), author)
    return version


def _update(connection: sa.Connection, version: Version, **values: Any) -> None:
    connection.execute(sa.update(versions).where(is_version(version.model, version.number)).values(values))
