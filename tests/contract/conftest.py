"""What the contract suites run against: the stores over each kind of database, a new one for each test."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from controlplane.registry.store import RegistryStore, StateStore
from tests.harness.memory_registry import MemoryRegistry
from tests.harness.postgres import Postgres, running_postgres


@dataclass(frozen=True)
class Stores:
    registry: RegistryStore
    state: StateStore


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="session")
def new_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the newest schema and nothing in it: a copy is there sooner than one that is migrated."""
    path = tmp_path_factory.mktemp("new") / "yard.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def new_postgresql(postgres: Postgres) -> Iterator[str]:
    """As `new_sqlite`."""
    with postgres.make_database() as url:
        open_database(url).close()
        yield url


@contextmanager
def make_new_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Of a database with the newest schema and nothing in it."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("new_sqlite"), folder / "yard.db")
        yield f"sqlite:///{folder}/yard.db"
        return
    template = request.getfixturevalue("new_postgresql")
    running: Postgres = request.getfixturevalue("postgres")
    with running.make_database(template) as of_postgres:
        yield of_postgres


@contextmanager
def make_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/yard.db"
        return
    running: Postgres = request.getfixturevalue("postgres")
    with running.make_database() as of_postgres:
        yield of_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a database with nothing in it, not even tables but for a test that has it open."""
    make = make_new_url if "database" in request.fixturenames else make_url
    with make(request.param, request, tmp_path) as of_database:
        yield of_database


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()


@pytest.fixture
def stores(database: Database) -> Stores:
    """Both of one database."""
    return Stores(SqlRegistryStore(database), SqlStateStore(database))


@pytest.fixture
def state(stores: Stores) -> StateStore:
    return stores.state


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryStore]:
    """Each implementation; a module whose tests need a StateStore, too, takes that of `stores` instead."""
    if request.param == "memory":
        yield MemoryRegistry()
        return
    with make_new_url(request.param, request, tmp_path) as of_database:
        opened = open_database(of_database)
        yield SqlRegistryStore(opened)
        opened.close()
