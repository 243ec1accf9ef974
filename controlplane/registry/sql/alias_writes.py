"""How an alias is set, rolled back and removed. Each function is within its caller's transaction."""

from collections.abc import Sequence

import sqlalchemy as sa

from controlplane.domain import Alias, AliasMove, Author, DeploymentKey, FactKind, MoveKind
from controlplane.policy.alias_history import compute_rollback_target
from controlplane.registry.refusals import deployed, moved_since, nothing_before, rolled_back_onto_deleted
from controlplane.registry.sql.fact_journal import add_deployed, add_fact
from controlplane.registry.sql.lookups import (
    advance_revision,
    find_alias,
    find_usable_version,
    find_version,
    is_alias,
    read_alias,
    read_deployment,
)
from controlplane.registry.sql.schema import alias_moves, aliases
from controlplane.registry.sql.version_rows import move_from_row


def set_alias(connection: sa.Connection, alias: Alias, expected: int | None) -> Alias:
    find_usable_version(connection, alias.model, alias.version)
    before = read_alias(connection, alias.model, alias.name)
    _refuse_moved(connection, alias.model, alias.name, before, expected)
    if before is not None and before.version == alias.version:
        return before
    author = Author(alias.moved_at, alias.user, alias.reason)
    _keep(connection, AliasMove(alias.model, alias.name, MoveKind.SET, _version(before), alias.version, author))
    return alias


def roll_back(connection: sa.Connection, model: str, name: str, author: Author, expected: int | None) -> AliasMove:
    before = read_alias(connection, model, name)
    _refuse_moved(connection, model, name, before, expected)
    moves = _read_moves(connection, model, name)
    target = compute_rollback_target(moves)
    if target is None:
        current = find_alias(connection, model, name)  # NotFoundError where there never was one
        raise nothing_before(model, name, current.version)
    version = find_version(connection, model, target)
    if version.deleted_at is not None:
        raise rolled_back_onto_deleted(name, version)
    move = AliasMove(model, name, MoveKind.ROLLBACK, _version(before), target, author)
    _keep(connection, move)
    return move


def remove(connection: sa.Connection, model: str, name: str, author: Author, expected: int | None) -> None:
    _refuse_moved(connection, model, name, read_alias(connection, model, name), expected)
    before = find_alias(connection, model, name)
    if read_deployment(connection, DeploymentKey(model, name)) is not None:
        raise deployed(model, name)
    _keep(connection, AliasMove(model, name, MoveKind.REMOVE, before.version, None, author))


def _version(alias: Alias | None) -> int | None:
    return None if alias is None else alias.version


def _refuse_moved(connection: sa.Connection, model: str, name: str, before: Alias | None, expected: int | None) -> None:
    current = _version(before) or 0
    if expected is None or expected == current:
        return
    of_alias = (alias_moves.c.model == model) & (alias_moves.c.alias == name)
    row = connection.execute(sa.select(alias_moves).where(of_alias).order_by(alias_moves.c.id.desc()).limit(1)).first()
    raise moved_since(model, name, expected, current, None if row is None else move_from_row(row))


def _read_moves(connection: sa.Connection, model: str, name: str) -> Sequence[AliasMove]:
    """Oldest first."""
    of_alias = (alias_moves.c.model == model) & (alias_moves.c.alias == name)
    query = sa.select(alias_moves).where(of_alias).order_by(alias_moves.c.id)
    return [move_from_row(row) for row in connection.execute(query)]


def _keep(connection: sa.Connection, move: AliasMove) -> None:
    _point(connection, move)
    _keep_history(connection, move)
    _tell(connection, move)
    advance_revision(connection)


def _point(connection: sa.Connection, move: AliasMove) -> None:
    author = move.author
    values = {
        "version": move.to_version,
        "user_name": author.user,
        "reason": author.reason,
        "moved_at": author.at,
    }
    if move.to_version is None:
        connection.execute(sa.delete(aliases).where(is_alias(move.model, move.alias)))
    elif move.from_version is None:
        connection.execute(sa.insert(aliases).values(model=move.model, name=move.alias, **values))
    else:
        connection.execute(sa.update(aliases).where(is_alias(move.model, move.alias)).values(values))


def _keep_history(connection: sa.Connection, move: AliasMove) -> None:
    values = {
        "model": move.model,
        "alias": move.alias,
        "kind": move.kind.value,
        "from_version": move.from_version,
        "to_version": move.to_version,
        "user_name": move.author.user,
        "reason": move.author.reason,
        "moved_at": move.author.at,
    }
    connection.execute(sa.insert(alias_moves).values(values))


def _tell(connection: sa.Connection, move: AliasMove) -> None:
    version = move.to_version or move.from_version
    assert version is not None, "a move is from a version or to one"
    details = {"kind": move.kind.value, "from_version": move.from_version}
    add_fact(connection, FactKind.ALIASED, (move.model, version), move.author, alias=move.alias, details=details)
    deployment = read_deployment(connection, DeploymentKey(move.model, move.alias))
    if deployment is not None:
        add_deployed(connection, deployment, version, move.author)
