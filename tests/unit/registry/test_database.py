"""Opening, upgrading and losing the database."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from controlplane.registry.sql import schema
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from modelyard.errors import FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError, UnavailableError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path}/yard.db")
    yield database
    database.close()


def test_migrations_lead_to_the_schema_of_the_program(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_constraints_have_the_names_of_the_schema(database: Database) -> None:
    inspector = sa.inspect(database.engine)
    for table in schema.metadata.sorted_tables:
        found = {
            inspector.get_pk_constraint(table.name)["name"],
            *(key["name"] for key in inspector.get_foreign_keys(table.name)),
            *(key["name"] for key in inspector.get_unique_constraints(table.name)),
            *(key["name"] for key in inspector.get_check_constraints(table.name)),
        }
        assert found == {constraint.name for constraint in table.constraints}


def test_opening_a_second_time_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "yard.db"
    contents = []
    for _ in range(2):
        open_database(f"sqlite:///{path}").close()
        with sqlite3.connect(path) as connection:
            contents.append(list(connection.iterdump()))
        connection.close()
    assert contents[0] == contents[1]


def test_a_database_of_a_newer_program_is_refused(database: Database, tmp_path: Path) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(FailedPreconditionError, match=r"newer Modelyard.*9999.*up to 0001"):
        open_database(f"sqlite:///{tmp_path}/yard.db")


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nowhere/yard\.db"):
        open_database(f"sqlite:///{tmp_path}/nowhere/yard.db")
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        open_database(f"sqlite:///{tmp_path}/text")


@pytest.mark.parametrize("url", ["yard.db", "nosuch://x/y", "postgresql+nosuchdriver://localhost/x"])
def test_a_url_that_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="sqlite:///FILE"):
        open_database(url)


def test_sqlite_keeps_what_was_committed_and_checks_references(database: Database) -> None:
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    with database.reading() as connection:
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas} == pragmas


def test_a_reader_sees_one_moment(database: Database) -> None:
    with database.reading() as reader:
        before = reader.scalar(sa.select(schema.yard.c.revision))
        with database.writing() as writer:
            writer.execute(sa.update(schema.yard).values(revision=99))
        assert reader.scalar(sa.select(schema.yard.c.revision)) == before
    with database.reading() as reader:
        assert reader.scalar(sa.select(schema.yard.c.revision)) == 99


def test_what_raises_is_not_written(database: Database) -> None:
    with pytest.raises(KeyError), database.writing() as connection:
        connection.execute(sa.update(schema.yard).values(revision=99))
        raise KeyError
    with database.reading() as connection:
        assert connection.scalar(sa.select(schema.yard.c.revision)) == 1


def test_a_full_disk_is_told_apart(database: Database) -> None:
    def fill(connection: sa.Connection) -> None:
        connection.exec_driver_sql(
            f"PRAGMA max_page_count = {connection.exec_driver_sql('PRAGMA page_count').scalar()}"
        )
        connection.execute(sa.insert(schema.route_table).values(id=1, version=1, content="x" * 100_000))

    with pytest.raises(ResourceExhaustedError, match="full"), database.writing() as connection:
        fill(connection)
