"""What must be so of aliases, their history, and the journal of that."""

import sqlalchemy as sa

from controlplane.db.invariant import RESTORE, Invariant, newest_of, of_version
from controlplane.domain import FactKind, MoveKind
from controlplane.registry.sql.schema import alias_moves, aliases, lineage_facts, versions


def _aliases_point_to_versions() -> Invariant:
    query = (
        sa.select(aliases.c.model, aliases.c.name, aliases.c.version, versions.c.number)
        .select_from(aliases.outerjoin(versions, of_version(aliases, aliases.c.version)))
        .where(versions.c.number.is_(None) | versions.c.deleted_at.is_not(None))
    )
    return Invariant(
        "aliases",
        query,
        lambda row: (
            f"{row.model}@{row.name} points to version {row.version}, which is "
            f"{'not there' if row.number is None else 'deleted'}: "
            f"point it to another, modelyard alias set {row.model} {row.name} VERSION"
        ),
    )


def _aliases_are_where_they_were_moved() -> Invariant:
    last = newest_of(alias_moves)
    is_its = (last.c.model == aliases.c.model) & (last.c.alias == aliases.c.name)
    # Not one full join: SQLite learned that late.
    moved = (
        sa.select(aliases.c.model, aliases.c.name, aliases.c.version, last.c.to_version)
        .select_from(aliases.outerjoin(last, is_its))
        .where(aliases.c.version.is_distinct_from(last.c.to_version))
    )
    lost = (
        sa.select(last.c.model, last.c.alias, sa.null(), last.c.to_version)
        .select_from(last.outerjoin(aliases, is_its))
        .where(aliases.c.name.is_(None) & last.c.to_version.is_not(None))
    )
    query = moved.union_all(lost)
    return Invariant(
        "history",
        query,
        lambda row: (
            f"{row.model}@{row.name} {_points(row.version)}, and by its last move it {_points(row.to_version)}: "
            f"{RESTORE}"
        ),
    )


def _points(version: int | None) -> str:
    return "is not there" if version is None else f"points to {version}"


def _history_is_unbroken() -> Invariant:
    lag = sa.func.lag(alias_moves.c.to_version)
    before = lag.over(partition_by=(alias_moves.c.model, alias_moves.c.alias), order_by=alias_moves.c.id).label(
        "before"
    )
    moves = sa.select(alias_moves, before).subquery()
    query = sa.select(moves).where(moves.c.before.is_distinct_from(moves.c.from_version)).order_by(moves.c.id)
    return Invariant(
        "history",
        query,
        lambda row: (
            f"the history of {row.model}@{row.alias} is broken: at move {row.id} it {_points(row.from_version)}, and "
            f"after the move before it {_points(row.before)}: {RESTORE}"
        ),
    )


def _moves_lead_to_versions() -> Invariant:
    is_removal = alias_moves.c.kind == MoveKind.REMOVE.value
    query = (
        sa.select(alias_moves.c.id, alias_moves.c.model, alias_moves.c.alias, alias_moves.c.to_version)
        .select_from(alias_moves.outerjoin(versions, of_version(alias_moves, alias_moves.c.to_version)))
        .where(sa.case((is_removal, alias_moves.c.to_version.is_not(None)), else_=versions.c.number.is_(None)))
        .order_by(alias_moves.c.id)
    )
    return Invariant(
        "history",
        query,
        lambda row: (
            f"move {row.id} of {row.model}@{row.alias} does not lead where a move of its kind can "
            f"({row.to_version or 'nowhere'}): {RESTORE}"
        ),
    )


def _facts_tell_of_moves() -> Invariant:
    key = (alias_moves.c.model, alias_moves.c.alias)
    moved = sa.select(*key, sa.func.count().label("moves")).group_by(*key).subquery()
    told_key = (lineage_facts.c.model, lineage_facts.c.alias)
    told = (
        sa.select(*told_key, sa.func.count().label("facts"))
        .where(lineage_facts.c.kind == FactKind.ALIASED.value)
        .group_by(*told_key)
        .subquery()
    )
    facts = sa.func.coalesce(told.c.facts, 0)
    joined = moved.outerjoin(told, (told.c.model == moved.c.model) & (told.c.alias == moved.c.alias))
    query = sa.select(moved, facts.label("facts")).select_from(joined).where(facts != moved.c.moves)
    return Invariant(
        "journal",
        query,
        lambda row: (
            f"{row.model}@{row.alias} was moved {row.moves} times, and the journal tells of {row.facts}: {RESTORE}"
        ),
    )


ALIAS_INVARIANTS = (
    _aliases_point_to_versions(),
    _aliases_are_where_they_were_moved(),
    _history_is_unbroken(),
    _moves_lead_to_versions(),
    _facts_tell_of_moves(),
)
