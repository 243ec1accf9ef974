"""Opening, upgrading and losing the database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from controlplane.registry.sql import schema
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from modelyard.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path}/yard.db")
    yield database
    database.close()


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nowhere/yard\.db"):
        open_database(f"sqlite:///{tmp_path}/nowhere/yard.db")
    with pytest.raises(UnavailableError, match=r"ann:\*\*\*@/yard.*nowhere.*mend that"):
        open_database(f"postgresql+psycopg://ann:secret@/yard?host={tmp_path}/nowhere")
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


def test_a_full_disk_is_told_apart(database: Database) -> None:
    def fill(connection: sa.Connection) -> None:
        connection.exec_driver_sql(
            f"PRAGMA max_page_count = {connection.exec_driver_sql('PRAGMA page_count').scalar()}"
        )
        connection.execute(sa.insert(schema.route_table).values(id=1, version=1, content="x" * 100_000))

    with pytest.raises(ResourceExhaustedError, match="full"), database.writing() as connection:
        fill(connection)
