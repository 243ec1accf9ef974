"""The lineage store in PostgreSQL: connections that break, and whoever it lets in."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import psycopg.sql
import pytest
from sqlalchemy import make_url

from controlplane.domain import FactKind
from controlplane.registry.lineage import MlMetadataLineage, lineage_config
from controlplane.registry.lineage.local import LocalLineage
from controlplane.registry.lineage_graph import Node
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.store import RegistryStore
from modelyard.errors import UnavailableError
from tests.harness.lineage_story import record_all
from tests.harness.postgres import Postgres
from tests.harness.records import NOW, make_draft

_USER = "o'hara \\ keeper"


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.make_database() as of_postgres:
        yield of_postgres


@pytest.fixture
def admin(url: str) -> Iterator[psycopg.Connection]:
    yard = make_url(url)
    with psycopg.connect(
        host=str(yard.query["host"]), user="postgres", dbname=yard.database, autocommit=True
    ) as connection:
        yield connection


@pytest.fixture
def registry(url: str) -> Iterator[RegistryStore]:
    database = open_database(url)
    yield SqlRegistryStore(database)
    database.close()


@pytest.fixture
def lineage(url: str, tmp_path: Path) -> Iterator[MlMetadataLineage]:
    with closing(MlMetadataLineage(lineage_config("", url, tmp_path))) as opened:
        yield opened


def cut_others(admin: psycopg.Connection) -> int:
    """Ends all other connections to the database, and returns how many there were."""
    ended = admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return len(ended.fetchall())


def test_a_connection_that_is_cut_is_made_anew(
    lineage: MlMetadataLineage, registry: RegistryStore, admin: psycopg.Connection
) -> None:
    registry.create_version(make_draft(), NOW)
    record_all(registry, lineage)
    assert lineage.read("resnet", 1).nodes
    assert cut_others(admin) >= 2
    facts = registry.list_facts(True, 0, 10)
    assert lineage.has(facts) == {facts[0].number}
    assert lineage.read("resnet", 1).nodes
    cut_others(admin)
    moved = replace(facts[0], number=99, kind=FactKind.ALIASED, alias="production")
    lineage.record([(moved, registry.get_version("resnet", 1))])
    assert lineage.has([moved]) == {99}


def test_a_server_that_is_away_is_told(url: str, tmp_path: Path) -> None:
    lineage = LocalLineage(lineage_config("", url.replace("host=", "host=/nowhere"), tmp_path))
    with pytest.raises(UnavailableError, match="the lineage store cannot be used"):
        lineage.read("resnet", 1)


@pytest.fixture
def guarded(admin: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """While the server asks `_USER`, alone, for a password."""
    user = psycopg.sql.Identifier(_USER)
    admin.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(user))
    (path,) = admin.execute("SHOW hba_file").fetchone() or ("",)
    rules = Path(path).read_text()
    Path(path).write_text(f'local all "{_USER}" scram-sha-256\n{rules}')
    admin.execute("SELECT pg_reload_conf()")
    yield admin
    Path(path).write_text(rules)
    admin.execute("SELECT pg_reload_conf()")
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (_USER,))
    admin.execute(psycopg.sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(user))


@pytest.mark.parametrize("password", ["o'hara", "two words", "back\\slash", "'", "p%40=&?#/@:", "é"])
def test_a_user_and_a_password_of_any_characters_work(
    url: str, guarded: psycopg.Connection, tmp_path: Path, password: str
) -> None:
    change = "ALTER ROLE {} PASSWORD {}"
    guarded.execute(psycopg.sql.SQL(change).format(psycopg.sql.Identifier(_USER), psycopg.sql.Literal(password)))

    def read(given: str) -> tuple[Node, ...]:
        with_both = make_url(url).set(username=_USER, password=given).render_as_string(hide_password=False)
        return LocalLineage(lineage_config("", with_both, tmp_path)).read("resnet", 1).nodes

    assert read(password) == ()
    with pytest.raises(UnavailableError):
        read(password + "x")
