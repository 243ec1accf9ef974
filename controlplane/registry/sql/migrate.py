"""Opening the database: its schema is brought up to this program's, or it is refused."""

import logging
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import exc

from controlplane.registry import migrations
from controlplane.registry.sql.database import Database, create_engine
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, YardError


def open_database(url: str) -> Database:
    """The database at `url`, with the newest schema. Blocking.

    Raises InvalidArgumentError for a URL that names no database, FailedPreconditionError for a database that a newer
    program has changed, UnavailableError where it cannot be reached.
    """
    database = connect_database(url)
    try:
        upgrade(database)
    except YardError:
        database.close()
        raise
    return database


def connect_database(url: str) -> Database:
    """The database at `url` as it is; connects to nothing yet. InvalidArgumentError for a URL of no database."""
    try:
        return Database(create_engine(url))
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
        raise InvalidArgumentError(
            f"the database URL does not work ({error}); use sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME "
            "with the package psycopg installed"
        ) from error


def upgrade(database: Database, revision: str = "head") -> None:
    """Brings the schema to `revision`, in one transaction: what is cut off leaves the schema and the data as they were.

    Raises FailedPreconditionError for a database that a newer program has changed.
    """
    with database.changing_schema() as connection:
        refuse_newer(connection)
        run_migrations(connection, revision)


def run_migrations(connection: sa.Connection, revision: str = "head") -> None:
    """Up to `revision`, in the transaction of `Database.changing_schema` that is under way on `connection`."""
    # Of what Alembic says at every start only the warnings concern anybody.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = _migration_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def read_revision(connection: sa.Connection) -> str | None:
    """Of the database's schema; None where it has none."""
    return MigrationContext.configure(connection).get_current_revision()


def list_revisions() -> list[str]:
    """Those that this program knows, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(_migration_config()).walk_revisions()][::-1]


def _migration_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config


def refuse_newer(connection: sa.Connection) -> None:
    """FailedPreconditionError where the schema is none that this program knows."""
    revision, known = read_revision(connection), list_revisions()
    if revision is not None and revision not in known:
        url = connection.engine.url.render_as_string(hide_password=True)
        raise FailedPreconditionError(
            f"the database {url} was changed by a newer Modelyard "
            f"(schema {revision}, this program knows up to {known[-1]}): "
            "start that newer program, or restore the database from before the upgrade"
        )
