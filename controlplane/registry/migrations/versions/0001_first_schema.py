"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_models_and_versions()
    _create_aliases()
    _create_deployments()
    _create_cluster_state()


def _create_models_and_versions() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("latest_version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_models"),
    )
    op.create_table(
        "versions",
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.JSON(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_versions_model"),
        sa.PrimaryKeyConstraint("model", "number", name="pk_versions"),
        sa.UniqueConstraint("model", "sha256", name="uq_versions_model_sha256"),
    )
    op.create_index("ix_versions_recorded", "versions", ["recorded"])


def _create_aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"], ["versions.model", "versions.number"], name="fk_aliases_model_version"
        ),
        sa.PrimaryKeyConstraint("model", "name", name="pk_aliases"),
    )
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("alias", sa.String(100), nullable=False),
        sa.Column("from_version", sa.BigInteger()),
        sa.Column("to_version", sa.BigInteger()),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alias_moves"),
    )
    op.create_index("ix_alias_moves_model_alias_id", "alias_moves", ["model", "alias", "id"])


def _create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("alias", sa.String(100), nullable=False),
        sa.Column("replicas", sa.Integer(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("no_retries", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "alias"], ["aliases.model", "aliases.name"], name="fk_deployments_model_alias"
        ),
        sa.PrimaryKeyConstraint("model", "alias", name="pk_deployments"),
    )
    op.create_table(
        "deployment_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("alias", sa.String(100), nullable=False),
        sa.Column("replicas", sa.Integer()),
        sa.Column("threads", sa.Integer()),
        sa.Column("memory_bytes", sa.BigInteger()),
        sa.Column("no_retries", sa.Boolean()),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployment_changes"),
    )
    op.create_index("ix_deployment_changes_model_alias_id", "deployment_changes", ["model", "alias", "id"])


def _create_cluster_state() -> None:
    op.create_table(
        "replicas",
        sa.Column("replica_id", sa.String(250), nullable=False),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("alias", sa.String(100), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("cores", sa.JSON(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("wish", sa.String(16), nullable=False),
        sa.Column("takes_over", sa.String(250), nullable=False),
        sa.Column("retired_in", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"], ["versions.model", "versions.number"], name="fk_replicas_model_version"
        ),
        sa.PrimaryKeyConstraint("replica_id", name="pk_replicas"),
    )
    op.create_table(
        "route_table",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_route_table_one_row")),
        sa.PrimaryKeyConstraint("id", name="pk_route_table"),
    )
    yard = op.create_table(
        "yard",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("next_replica_number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_yard_one_row")),
        sa.PrimaryKeyConstraint("id", name="pk_yard"),
    )
    op.bulk_insert(yard, [{"id": 1, "revision": 1, "next_replica_number": 1}])
