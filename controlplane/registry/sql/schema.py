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
    sa.Column("packaging", sa.String(16), nullable=False),
    sa.Column("details", sa.JSON(none_as_null=True)),
    sa.Column("source", sa.JSON, nullable=False),
    sa.Column("sample", sa.JSON(none_as_null=True)),
    # That of `sample`: purging asks whose files a record still needs.
    sa.Column("sample_sha256", sa.String(64)),
    sa.Column("origin", sa.JSON(none_as_null=True)),
    # How often description, metrics or tags, which hold what is so now, were changed.
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("deleted_at", UtcDateTime),
    sa.Column("purged_at", UtcDateTime),
    sa.Index(None, "sha256"),
    sa.Index(None, "sample_sha256"),
    sa.Index(None, "created_at"),
)
# The same bytes once for each model, save where the earlier version's are gone.
sa.Index(
    "uq_versions_model_sha256_kept",
    versions.c.model,
    versions.c.sha256,
    unique=True,
    sqlite_where=versions.c.purged_at.is_(None),
    postgresql_where=versions.c.purged_at.is_(None),
)

# Only ever grows: every change of what may change of a version.
version_changes = sa.Table(
    "version_changes",
    metadata,
    sa.Column("model", sa.String(100), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("changes", sa.JSON, nullable=False),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
)

# What versions are searched by: a row for each metric, parameter and tag that they have now.
version_values = sa.Table(
    "version_values",
    metadata,
    sa.Column("model", sa.String(100), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), primary_key=True),  # "metric", "parameter", "tag"
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("text_value", sa.Text),  # null: a metric
    # Its beginning: an index holds no long text.
    sa.Column("text_prefix", sa.String(100)),
    # A metric, or a text that is a number.
    sa.Column("number_value", sa.Double),
    sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
    sa.Index("ix_version_values_number", "kind", "key", "number_value"),
    sa.Index("ix_version_values_text", "kind", "key", "text_prefix"),
)

# Only ever grows: what the lineage store is told of.
lineage_facts = sa.Table(
    "lineage_facts",
    metadata,
    # Not autoincrement's own: SQLite gives that to INTEGER alone, which has 32 bits on PostgreSQL.
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("alias", sa.String(100), nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("happened_at", UtcDateTime, nullable=False),
    # False until the lineage store has it: the outbox of that store.
    sa.Column("recorded", sa.Boolean, nullable=False),
    sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
    sa.Index(None, "recorded", "number"),
    sa.Index(None, "model", "version"),
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
    sa.Column("kind", sa.String(16), nullable=False),
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
    sa.Column("gpu_percent", sa.Integer, nullable=False),
    sa.Column("gpu_memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("runtime", sa.String(100), nullable=False),
    sa.Column("max_batch_rows", sa.Integer, nullable=False),
    sa.Column("max_batch_wait_us", sa.BigInteger, nullable=False),
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
    sa.Column("gpu_percent", sa.Integer),
    sa.Column("gpu_memory_bytes", sa.BigInteger),
    sa.Column("runtime", sa.String(100)),
    sa.Column("max_batch_rows", sa.Integer),
    sa.Column("max_batch_wait_us", sa.BigInteger),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
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
    sa.Column("gpu_uuid", sa.String(100), nullable=False),  # "": on the CPU
    sa.Column("gpu_percent", sa.Integer, nullable=False),
    sa.Column("gpu_memory_bytes", sa.BigInteger, nullable=False),
    sa.Column("is_memory_estimated", sa.Boolean, nullable=False),
    sa.Column("runtime", sa.String(100), nullable=False),
    sa.Column("max_batch_rows", sa.Integer, nullable=False),
    sa.Column("max_batch_wait_us", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime),  # null: by an earlier release
    sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
)

# Those that a person cordoned or drains; what agents say of their nodes is not kept.
nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("name", sa.String(253), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
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
