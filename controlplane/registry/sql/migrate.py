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
from controlplane.registry.sql.database import WRITES, Database, create_engine, lock_schema
from modelyard.errors import FailedPreconditionError, InvalidArgumentError


def open_database(url: str) -> Database:
    """The database at `url`, with the newest schema. Blocking.

    Raises InvalidArgumentError for a URL that names no database, FailedPreconditionError for a database that a newer
    program has changed, UnavailableError where it cannot be reached.
    """
    try:
        engine = create_engine(url)
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError) as error:
        raise InvalidArgumentError(
            f"the database URL does not work ({error}); use sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME "
            "with the package psycopg installed"
        ) from error
    database = Database(engine)
    try:
        _upgrade(engine)
    except exc.SQLAlchemyError as error:
        database.close()
        raise database.explain(error) from error
    except FailedPreconditionError:
        database.close()
        raise
    return database


def _migration_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config


def _upgrade(engine: sa.Engine) -> None:
    # Of what Alembic says at every start only the warnings concern anybody.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = _migration_config()
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        lock_schema(connection)
        _refuse_newer(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _refuse_newer(connection: sa.Connection, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    unknown = set(MigrationContext.configure(connection).get_current_heads()) - known
    if unknown:
        url = connection.engine.url.render_as_string(hide_password=True)
        raise FailedPreconditionError(
            f"the database {url} was changed by a newer Modelyard "
            f"(schema {', '.join(sorted(unknown))}, this program knows up to {scripts.get_current_head()}): "
            "start that newer program, or restore the database from before the upgrade"
        )
