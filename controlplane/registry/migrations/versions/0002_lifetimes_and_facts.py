"""Versions that can be changed, deleted and purged, what they are searched by, and a journal of what happened to them.

The journal takes the place of the flag `versions.recorded`, and is filled from what the first schema kept of the past.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import sqlalchemy as sa
from alembic import op

from controlplane.registry.migrations.past import list_values, tell_the_past

revision = "0002"
down_revision = "0001"

_BATCH = 1000
_MOMENT = sa.DateTime(timezone=True)

_registered = sa.table(
    "versions",
    *(sa.column(name) for name in ("model", "number", "user_name")),
    sa.column("created_at", _MOMENT),
)
_versions = sa.table(
    "versions",
    *(sa.column(name) for name in ("model", "number")),
    *(sa.column(name, sa.JSON()) for name in ("metrics", "parameters", "tags")),
)
_new_in_versions = sa.table("versions", sa.column("packaging"), sa.column("source", sa.JSON()), sa.column("revision"))
_alias_moves = sa.table(
    "alias_moves",
    *(sa.column(name) for name in ("id", "model", "alias", "kind", "from_version", "to_version")),
    *(sa.column(name) for name in ("user_name", "reason")),
    sa.column("moved_at", _MOMENT),
)
_deployment_changes = sa.table(
    "deployment_changes",
    *(sa.column(name) for name in ("id", "model", "alias", "replicas", "threads", "memory_bytes", "no_retries")),
    *(sa.column(name) for name in ("user_name", "reason")),
    sa.column("changed_at", _MOMENT),
)


def upgrade() -> None:
    _change_history()
    _fill(_create_facts(), _read_past())
    _change_versions()
    _create_changes()
    _fill(_create_values(), (value for version in _read(_versions) for value in list_values(version)))


def _change_history() -> None:
    op.add_column("alias_moves", sa.Column("kind", sa.String(16)))
    kind = sa.case((_alias_moves.c.to_version.is_(None), "remove"), else_="set")
    op.execute(sa.update(_alias_moves).values(kind=kind))
    with op.batch_alter_table("alias_moves") as batch:
        batch.alter_column("kind", existing_type=sa.String(16), nullable=False)
    for name in ("user_name", "reason"):
        op.add_column("deployment_changes", sa.Column(name, sa.Text()))
    op.execute(sa.update(_deployment_changes).values(user_name="", reason=""))
    with op.batch_alter_table("deployment_changes") as batch:
        for name in ("user_name", "reason"):
            batch.alter_column(name, existing_type=sa.Text(), nullable=False)


def _create_facts() -> sa.Table:
    table = op.create_table(
        "lineage_facts",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("alias", sa.String(100), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("happened_at", _MOMENT, nullable=False),
        sa.Column("recorded", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"], ["versions.model", "versions.number"], name="fk_lineage_facts_model_version"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_lineage_facts"),
    )
    op.create_index("ix_lineage_facts_recorded_number", "lineage_facts", ["recorded", "number"])
    op.create_index("ix_lineage_facts_model_version", "lineage_facts", ["model", "version"])
    return table


def _change_versions() -> None:
    op.drop_index("ix_versions_recorded", "versions")
    for column in (
        sa.Column("packaging", sa.String(16)),
        sa.Column("details", sa.JSON()),
        sa.Column("source", sa.JSON()),
        sa.Column("sample", sa.JSON()),
        sa.Column("sample_sha256", sa.String(64)),
        sa.Column("origin", sa.JSON()),
        sa.Column("revision", sa.BigInteger()),
        sa.Column("deleted_at", _MOMENT),
        sa.Column("purged_at", _MOMENT),
    ):
        op.add_column("versions", column)
    op.execute(sa.update(_new_in_versions).values(packaging="file", source={}, revision=0))
    with op.batch_alter_table("versions") as batch:
        batch.drop_constraint("uq_versions_model_sha256", type_="unique")
        batch.drop_column("recorded")
        batch.alter_column("packaging", existing_type=sa.String(16), nullable=False)
        batch.alter_column("source", existing_type=sa.JSON(), nullable=False)
        batch.alter_column("revision", existing_type=sa.BigInteger(), nullable=False)
    kept = sa.text("purged_at IS NULL")
    op.create_index(
        "uq_versions_model_sha256_kept",
        "versions",
        ["model", "sha256"],
        unique=True,
        sqlite_where=kept,
        postgresql_where=kept,
    )
    for name in ("sha256", "sample_sha256", "created_at"):
        op.create_index(f"ix_versions_{name}", "versions", [name])


def _create_changes() -> None:
    op.create_table(
        "version_changes",
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "number"], ["versions.model", "versions.number"], name="fk_version_changes_model_number"
        ),
        sa.PrimaryKeyConstraint("model", "number", "revision", name="pk_version_changes"),
    )


def _create_values() -> sa.Table:
    table = op.create_table(
        "version_values",
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("text_value", sa.Text()),
        sa.Column("text_prefix", sa.String(100)),
        sa.Column("number_value", sa.Double()),
        sa.ForeignKeyConstraint(
            ["model", "number"], ["versions.model", "versions.number"], name="fk_version_values_model_number"
        ),
        sa.PrimaryKeyConstraint("model", "number", "kind", "key", name="pk_version_values"),
    )
    op.create_index("ix_version_values_number", "version_values", ["kind", "key", "number_value"])
    op.create_index("ix_version_values_text", "version_values", ["kind", "key", "text_prefix"])
    return table


def _read_past() -> list[Any]:
    moves, changes = _read(_alias_moves, "id"), _read(_deployment_changes, "id")
    return tell_the_past(_read(_registered, "model", "number"), moves, changes)


def _read(table: sa.TableClause, *order: str) -> list[Any]:
    query = sa.select(table).order_by(*(table.c[name] for name in order))
    return list(op.get_bind().execute(query).mappings())


def _fill(table: sa.Table, rows: Iterable[Any]) -> None:
    left = iter(rows)
    while batch := list(islice(left, _BATCH)):
        op.bulk_insert(table, batch)
