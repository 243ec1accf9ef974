"""What the contract suites run against: a row for each implementation of the stores."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from controlplane.registry.store import RegistryStore, StateStore


@dataclass(frozen=True)
class Stores:
    registry: RegistryStore
    state: StateStore


@pytest.fixture(params=["sqlite"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    database = open_database(f"{request.param}:///{tmp_path}/yard.db")
    yield Stores(SqlRegistryStore(database), SqlStateStore(database))
    database.close()


@pytest.fixture
def registry(stores: Stores) -> RegistryStore:
    return stores.registry


@pytest.fixture
def state(stores: Stores) -> StateStore:
    return stores.state
