"""What must be so of versions, their changes and their journal."""

import sqlalchemy as sa

from controlplane.db.invariant import RESTORE, Invariant, of_version
from controlplane.domain import FactKind
from controlplane.registry.sql.schema import lineage_facts, models, version_changes, versions, yard
from modelyard.resource_names import model_id


def _one_row() -> Invariant:
    rows = sa.select(sa.func.count()).select_from(yard).scalar_subquery()
    return Invariant(
        "yard",
        sa.select(rows.label("rows")).where(rows != 1),
        lambda row: f"the table yard has {row.rows} rows and needs one: {RESTORE}",
    )


def _numbers_are_dense() -> Invariant:
    latest = sa.func.coalesce(sa.func.max(versions.c.number), 0)
    kept = sa.func.count(versions.c.number)
    query = (
        sa.select(models.c.name, models.c.latest_version, latest.label("latest"), kept.label("kept"))
        .select_from(models.outerjoin(versions, versions.c.model == models.c.name))
        .group_by(models.c.name, models.c.latest_version)
        .having((latest != models.c.latest_version) | (kept != models.c.latest_version) | (kept == 0))
        .order_by(models.c.name)
    )
    return Invariant(
        "versions",
        query,
        lambda row: (
            f"{row.name!r} has given away {row.latest_version} numbers, and has {row.kept} versions up to "
            f"{row.latest}: {RESTORE}"
        ),
    )


def _purged_is_deleted() -> Invariant:
    is_wrong = versions.c.purged_at.is_not(None) & versions.c.deleted_at.is_(None)
    return Invariant(
        "versions",
        sa.select(versions.c.model, versions.c.number).where(is_wrong),
        lambda row: f"{model_id(row.model, row.number)} is purged and yet not deleted: {RESTORE}",
    )


def _changes_are_counted() -> Invariant:
    count = sa.func.count(version_changes.c.revision)
    last = sa.func.coalesce(sa.func.max(version_changes.c.revision), 0)
    query = (
        sa.select(versions.c.model, versions.c.number, versions.c.revision, count.label("kept"))
        .select_from(versions.outerjoin(version_changes, of_version(version_changes, version_changes.c.number)))
        .group_by(versions.c.model, versions.c.number, versions.c.revision)
        .having((count != versions.c.revision) | (last != versions.c.revision))
    )
    return Invariant(
        "changes",
        query,
        lambda row: (
            f"{model_id(row.model, row.number)} was changed {row.revision} times, and {row.kept} changes are kept: "
            f"{RESTORE}"
        ),
    )


def _facts_tell_of_versions() -> Invariant:
    def count(*kinds: FactKind) -> sa.Function[int]:
        return sa.func.count(sa.case((lineage_facts.c.kind.in_([kind.value for kind in kinds]), 1)))

    deletions = count(FactKind.DELETED) - count(FactKind.RESTORED)
    is_so = (
        (count(FactKind.REGISTERED) == 1)
        & (count(FactKind.CHANGED) == versions.c.revision)
        & (deletions == sa.case((versions.c.deleted_at.is_(None), 0), else_=1))
        & (count(FactKind.PURGED) == sa.case((versions.c.purged_at.is_(None), 0), else_=1))
    )
    query = (
        sa.select(versions.c.model, versions.c.number)
        .select_from(versions.outerjoin(lineage_facts, of_version(lineage_facts, lineage_facts.c.version)))
        .group_by(versions.c.model, versions.c.number, versions.c.revision, versions.c.deleted_at, versions.c.purged_at)
        .having(sa.not_(is_so))
    )
    return Invariant(
        "journal",
        query,
        lambda row: f"the journal does not tell all that happened to {model_id(row.model, row.number)}: {RESTORE}",
    )


VERSION_INVARIANTS = (
    _one_row(),
    _numbers_are_dense(),
    _purged_is_deleted(),
    _changes_are_counted(),
    _facts_tell_of_versions(),
)
