"""What the contract suites run against: the stores over each kind of database, a new one for each test."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from controlplane.registry.store import RegistryStore, StateStore
from tests.harness.postgres import Postgres, running_postgres


@dataclass(frozen=True)
class Stores:
    registry: RegistryStore
    state: StateStore


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a database with nothing in it, not even tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/yard.db"
        return
    running: Postgres = request.getfixturevalue("postgres")
    with running.make_database() as of_postgres:
        yield of_postgres


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()


@pytest.fixture
def stores(database: Database) -> Stores:
    return Stores(SqlRegistryStore(database), SqlStateStore(database))


@pytest.fixture
def registry(stores: Stores) -> RegistryStore:
    return stores.registry


@pytest.fixture
def state(stores: Stores) -> StateStore:
    return stores.state
