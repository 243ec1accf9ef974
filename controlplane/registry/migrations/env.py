"""Alembic runs this. The connection and its transaction belong to `controlplane.registry.sql.migrate`."""

from alembic import context

from controlplane.registry.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    # SQLite cannot alter a table in place: later migrations build it anew.
    render_as_batch=True,
)
context.run_migrations()
