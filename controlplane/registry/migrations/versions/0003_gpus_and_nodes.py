"""Deployments and replicas on GPUs and by a runtime, and nodes that a person cordoned or drains."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_MOMENT = sa.DateTime(timezone=True)
# What replicas and deployments of earlier releases are: on the CPU, by the node's first runtime, as it chooses.
_SERVING: tuple[tuple[str, Any, Any], ...] = (
    ("runtime", sa.String(100), ""),
    ("max_batch_rows", sa.Integer(), 0),
    ("max_batch_wait_us", sa.BigInteger(), 0),
)
_SHARE: tuple[tuple[str, Any, Any], ...] = (("gpu_percent", sa.Integer(), 0), ("gpu_memory_bytes", sa.BigInteger(), 0))


def upgrade() -> None:
    _add("deployments", (*_SHARE, *_SERVING))
    _add("replicas", (("gpu_uuid", sa.String(100), ""), *_SHARE, *_SERVING))
    # Earlier releases did not keep who said it, and held nobody to it.
    _add("replicas", (("is_memory_estimated", sa.Boolean(), True),))
    op.add_column("replicas", sa.Column("created_at", _MOMENT))
    # A row with nulls tells of a deletion, and the rows before this release of no GPU: null says both.
    for name, kind, _ in (*_SHARE, *_SERVING):
        op.add_column("deployment_changes", sa.Column(name, kind))
    op.create_table(
        "nodes",
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_nodes")),
    )


def _add(table: str, columns: tuple[tuple[str, Any, Any], ...]) -> None:
    for name, kind, _ in columns:
        op.add_column(table, sa.Column(name, kind))
    op.execute(sa.update(sa.table(table, *(sa.column(name) for name, _, _ in columns))).values(_values(columns)))
    with op.batch_alter_table(table) as batch:
        for name, kind, _ in columns:
            batch.alter_column(name, existing_type=kind, nullable=False)


def _values(columns: tuple[tuple[str, Any, Any], ...]) -> dict[str, Any]:
    return {name: value for name, _, value in columns}
