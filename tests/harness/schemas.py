"""Whether a database has the schema that the program means."""

from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from controlplane.registry.sql import schema


def find_differences(connection: sa.Connection) -> list[Any]:
    """Those between the schema of the program and that of the database; [] where there is none."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, schema.metadata))
