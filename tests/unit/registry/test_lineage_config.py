"""Where the lineage store is, for each URL of the yard's database."""

from pathlib import Path

import pytest

from controlplane.registry.lineage import lineage_config
from controlplane.registry.lineage.config import PostgresDatabase, SqliteFile
from modelyard.errors import InvalidArgumentError

DATA = Path("/srv/yard")


def test_a_file_of_its_own_is_used() -> None:
    for database_url in ("", "sqlite:////somewhere/yard.db", "postgresql+psycopg://ann@db/yard"):
        assert lineage_config("sqlite:////mnt/other/l.db", database_url, DATA) == SqliteFile(Path("/mnt/other/l.db"))
    assert lineage_config("sqlite:///l.db", "", DATA) == SqliteFile(Path.cwd() / "l.db")


def test_with_postgresql_it_can_be_a_file_in_the_data_folder() -> None:
    assert lineage_config("sqlite://", "postgresql+psycopg://ann@db/yard", DATA) == SqliteFile(DATA / "lineage.db")


def test_it_can_be_in_another_database() -> None:
    config = lineage_config("postgresql+psycopg://ann@db/lineage", "sqlite:////somewhere/yard.db", DATA)
    assert isinstance(config, PostgresDatabase) and config.parameters["dbname"] == "lineage"


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///file:l.db"])
def test_what_is_no_file_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="names no file"):
        lineage_config(url, "", DATA)


def parameters(url: str) -> dict[str, str]:
    config = lineage_config("", url, DATA)
    assert isinstance(config, PostgresDatabase)
    return dict(config.parameters)


@pytest.mark.parametrize("url", ["", "sqlite:////somewhere/yard.db"])
def test_with_sqlite_it_is_a_file_in_the_data_folder(url: str) -> None:
    assert lineage_config("", url, DATA) == SqliteFile(DATA / "lineage.db")


def test_with_postgresql_it_is_in_the_same_database() -> None:
    found = parameters(
        "postgresql+psycopg://ann:p%40ss%27%20w%2Frd@db:6543/yard?sslmode=prefer&options=-csearch_path%3Dx"
    )
    expected = {"host": "db", "port": "6543", "user": "ann", "password": "p@ss' w/rd", "dbname": "yard"}
    assert found | expected | {"sslmode": "prefer", "options": "-csearch_path=x"} == found


def test_the_folder_of_a_unix_socket_is_a_host() -> None:
    found = parameters("postgresql+psycopg://ann@/yard?host=/run/pg")
    assert (found["host"], found["port"], found["dbname"]) == ("/run/pg", "5432", "yard")


def test_without_a_user_it_is_the_one_who_runs_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "yard")
    assert parameters("postgresql+psycopg://db")["user"] == "yard"
    assert parameters("postgresql+psycopg://db")["dbname"] == "yard"


def test_a_server_that_is_gone_is_not_waited_for_for_ever() -> None:
    assert int(parameters("postgresql+psycopg://ann@db/yard")["connect_timeout"]) > 0
    assert parameters("postgresql+psycopg://ann@db/yard?connect_timeout=3")["connect_timeout"] == "3"


def test_what_only_the_yards_own_driver_knows_is_left_out() -> None:
    assert "sslnegotiation" not in parameters("postgresql+psycopg://ann@db/yard?sslnegotiation=postgres")


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(lineage_config("", "postgresql+psycopg://ann:secret@db/yard", DATA))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql+psycopg:///yard", "names no host"),
        ("postgresql+psycopg://ann:secret@db/yard?sslmode=require", "no TLS"),
        ("postgresql+psycopg://ann:secret@db/yard?sslmode=verify-full", "tunnel"),
        ("mysql://ann@db/yard", "use SQLite or PostgreSQL"),
        ("not a url", "cannot be read"),
    ],
)
def test_what_ml_metadata_cannot_use_is_refused(url: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    with pytest.raises(InvalidArgumentError, match=sentence) as error:
        lineage_config("", url, DATA)
    assert "secret" not in error.value.message
