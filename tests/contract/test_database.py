"""What every database does: its schema, its transactions."""

import subprocess
import sys
from typing import Any

import pytest
import sqlalchemy as sa

from controlplane.registry.sql import schema
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import list_revisions, open_database
from modelyard.errors import FailedPreconditionError
from tests.harness.schemas import find_differences


def test_migrations_lead_to_the_schema_of_the_program(database: Database) -> None:
    with database.reading() as connection:
        assert find_differences(connection) == []


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


def read_all(database: Database) -> dict[str, list[sa.Row[Any]]]:
    tables = sa.MetaData()
    with database.reading() as connection:
        tables.reflect(connection)
        return {table.name: list(connection.execute(sa.select(table))) for table in tables.sorted_tables}


def test_opening_a_second_time_changes_nothing(database: Database, url: str) -> None:
    before = read_all(database)
    again = open_database(url)
    assert read_all(again) == before
    again.close()


def test_a_database_of_a_newer_program_is_refused(database: Database, url: str) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(FailedPreconditionError, match=f"newer Modelyard.*9999.*up to {list_revisions()[-1]}"):
        open_database(url)


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


def test_several_programs_may_open_a_new_database_at_once(url: str) -> None:
    # Processes, not threads: Alembic keeps what it is doing in a global of its module.
    program = "import sys; from controlplane.registry.sql.migrate import open_database as o; o(sys.argv[1]).close()"
    opening = [
        subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [(process.communicate()[1], process.returncode) for process in opening] == [("", 0)] * 3
