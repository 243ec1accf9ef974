"""The tables. Plain SQL that SQLite and PostgreSQL both take; changes go through `controlplane/registry/migrations`."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = sa.MetaData(
    # Names for all constraints, so that a later migration can name what it changes.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware on the way in and out, kept in UTC (SQLite keeps no time zone)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value and value.astimezone(UTC)
        return value.replace(tzinfo=UTC)


# One row. Every writer locks it first, so writers come one after another on any database.
yard = sa.Table(
    "yard",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("next_replica_number", sa.BigInteger, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("latest_version", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("model", sa.ForeignKey("models.name"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("format", sa.String(32), nullable=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("signature", sa.JSON, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    # False until the lineage store has it: the outbox of that store.
    sa.Column("recorded", sa.Boolean, nullable=False, index=True),
    sa.UniqueConstraint("model", "sha256"),
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("model", sa.String(100), primary_key=True),
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("moved_at", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
)

# Only ever grows: who pointed what where, when and why.
alias_moves = sa.Table(
    "alias_moves",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("alias", sa.String(100), nullable=False),
    sa.Column("from_version", sa.BigInteger),  # null: it was created
    sa.Column("to_version", sa.BigInteger),  # null: it was deleted
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("moved_at", UtcDateTime, nullable=False),
    sa.Index(None, "model", "alias", "id"),
)

deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("model", sa.String(100), primary_key=True),
    sa.Column("alias", sa.String(100), primary_key=True),
    sa.Column("replicas", sa.Integer, nullable=False),
    sa.Column("threads", sa.Integer, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("no_retries", sa.Boolean, nullable=False),
    sa.ForeignKeyConstraint(["model", "alias"], ["aliases.model", "aliases.name"]),
)

# Only ever grows. A row with nulls: the deployment was deleted.
deployment_changes = sa.Table(
    "deployment_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("alias", sa.String(100), nullable=False),
    sa.Column("replicas", sa.Integer),
    sa.Column("threads", sa.Integer),
    sa.Column("memory_bytes", sa.BigInteger),
    sa.Column("no_retries", sa.Boolean),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Index(None, "model", "alias", "id"),
)

# What was placed where. It may outlive its deployment, until its node has let it go.
replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("replica_id", sa.String(250), primary_key=True),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("alias", sa.String(100), nullable=False),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("cores", sa.JSON, nullable=False),
    sa.Column("threads", sa.Integer, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("wish", sa.String(16), nullable=False),
    sa.Column("takes_over", sa.String(250), nullable=False),
    sa.Column("retired_in", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
)

# One row, once there is a table: the newest. Apart from `yard`, whose row is written much more often.
route_table = sa.Table(
    "route_table",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)
