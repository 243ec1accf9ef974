"""What becomes of a database that an earlier program left."""

import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from controlplane.domain import (
    Alias,
    Allocation,
    Deployment,
    DeploymentKey,
    FactKind,
    MoveKind,
    NodeScheduling,
    Packaging,
    Replica,
    Schedulability,
    Serving,
    Source,
)
from controlplane.registry import migrations
from controlplane.registry.sql import schema
from controlplane.registry.sql.database import create_engine
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.state_store import SqlStateStore
from controlplane.registry.store import RegistryStore, StateStore
from modelyard.errors import AlreadyExistsError, UnavailableError
from tests.contract.conftest import Stores
from tests.harness.old_databases import FILLERS, LONG_TEXT, make_old_database
from tests.harness.records import NOW, make_author, make_draft
from tests.harness.saved_yard import find_problems
from tests.harness.schemas import find_differences

# Runs an upgrade and dies by SIGKILL once a statement that begins with the second argument was executed.
KILLED = """
import os, signal, sys
import sqlalchemy as sa
from controlplane.registry.sql.migrate import open_database

@sa.event.listens_for(sa.Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    if " ".join(statement.split()).startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

open_database(sys.argv[1])
"""
BOTH = [
    "ALTER TABLE alias_moves ADD COLUMN",
    "INSERT INTO lineage_facts",
    "CREATE TABLE version_values",
    "UPDATE alembic",
]
STEPS = {"sqlite": [*BOTH, "DROP TABLE versions"], "postgresql": [*BOTH, "ALTER TABLE versions DROP COLUMN"]}


def at(second: int) -> datetime:
    return NOW.replace(second=second, microsecond=0)


@pytest.fixture
def old(url: str) -> str:
    """The URL of a database of the first schema."""
    make_old_database(url, "0001")
    return url


@pytest.fixture
def upgraded(old: str) -> Any:
    database = open_database(old)
    yield database
    database.close()


@pytest.fixture
def stores(upgraded: Any) -> Stores:
    return Stores(SqlRegistryStore(upgraded), SqlStateStore(upgraded))


@pytest.fixture
def registry(stores: Stores) -> RegistryStore:
    return stores.registry


def test_each_earlier_schema_is_tested() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    revisions = {script.revision for script in scripts.walk_revisions()}
    assert set(FILLERS) == revisions - {scripts.get_current_head()}


@pytest.mark.parametrize("revision", FILLERS)
def test_each_earlier_schema_becomes_the_newest(url: str, revision: str) -> None:
    make_old_database(url, revision)
    database = open_database(url)
    with database.reading() as connection:
        assert find_differences(connection) == []
    database.close()


def test_versions_come_through(registry: RegistryStore) -> None:
    version = registry.get_version("resnet", 1)
    facts = version.facts
    assert (version.created_at, version.revision, version.deleted_at, version.purged_at) == (at(1), 0, None, None)
    assert (facts.user, facts.description, facts.sha256, facts.size_bytes) == ("ann", "straße", "1" * 64, 7)
    assert (facts.metrics, facts.tags) == ({"top1": 0.1, "loss": -1e300}, {"team": LONG_TEXT})
    assert (facts.packaging, facts.source) == (Packaging.FILE, Source())
    assert (facts.details, facts.sample, facts.origin) == (None, None, None)
    assert facts.signature.inputs[0].shape == (-1, 3)
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        registry.check_new("resnet", "1" * 64)
    assert registry.create_version(make_draft("bert", "new"), NOW).number == 2


def test_what_runs_comes_through(state: StateStore) -> None:
    stored = state.load_state()
    key = DeploymentKey("resnet", "production")
    assert stored.deployments == {key: Deployment("resnet", "production", replicas=3)}
    assert stored.aliases == {key: Alias("resnet", "production", 2, at(13), "bob", "better")}
    assert set(stored.replicas) == {"r-1"}
    assert set(stored.versions) == {("resnet", 1), ("resnet", 2)}
    assert stored.route_table.version == 3


def test_what_was_placed_before_there_were_gpus_is_as_it_would_be_placed_now(url: str) -> None:
    make_old_database(url, "0002")
    database = open_database(url)
    stored = SqlStateStore(database).load_state()
    deployment = Deployment("resnet", "production", replicas=2, memory_bytes=9, no_retries=True)
    assert stored.deployments == {deployment.key: deployment}
    allocations = {"r-1": Allocation((0,), 1, 9, is_memory_estimated=True)}
    allocations["r-2"] = Allocation((1,), 1, 9, is_memory_estimated=True)
    assert stored.replicas == {
        name: Replica(name, "resnet", 1, "production", "host-1", allocation) for name, allocation in allocations.items()
    }
    assert stored.scheduling == {}
    database.close()


def test_a_database_of_before_there_were_gpus_is_well_and_changes(url: str) -> None:
    make_old_database(url, "0002")
    assert find_problems(url) == []
    database = open_database(url)
    state = SqlStateStore(database)
    state.put_deployment(
        Deployment("resnet", "production", gpu_percent=25, serving=Serving("triton", 8, 500)), make_author()
    )
    state.put_scheduling(NodeScheduling("host-1", Schedulability.DRAINING, make_author()))
    database.close()
    assert find_problems(url) == []


def test_the_history_of_aliases_comes_through_and_can_be_rolled_back(registry: RegistryStore) -> None:
    def places(alias: str) -> list[tuple[MoveKind, int | None, int | None]]:
        moves = registry.list_moves("resnet", alias, 10, "").items
        return [(move.kind, move.from_version, move.to_version) for move in moves]

    assert places("production") == [(MoveKind.SET, 1, 2), (MoveKind.SET, None, 1)]
    assert places("old") == [(MoveKind.REMOVE, 1, None), (MoveKind.SET, None, 1)]
    assert registry.roll_back_alias("resnet", "production", make_author()).to_version == 1


def test_the_past_is_told_in_order(registry: RegistryStore) -> None:
    facts = sorted(
        [*registry.list_facts(True, 0, 100), *registry.list_facts(False, 0, 100)], key=lambda fact: fact.number
    )
    deployed, aliased = FactKind.DEPLOYED, FactKind.ALIASED
    assert [(fact.kind, fact.model, fact.version, fact.alias, fact.author.at) for fact in facts] == [
        (FactKind.REGISTERED, "resnet", 1, "", at(1)),
        (FactKind.REGISTERED, "resnet", 2, "", at(2)),
        (FactKind.REGISTERED, "bert", 1, "", at(3)),
        (aliased, "resnet", 1, "production", at(10)),
        (aliased, "resnet", 1, "old", at(11)),
        (deployed, "resnet", 1, "production", at(12)),
        (aliased, "resnet", 2, "production", at(13)),
        (deployed, "resnet", 2, "production", at(13)),
        (deployed, "resnet", 2, "production", at(14)),
        (deployed, "resnet", 1, "old", at(14)),
        (FactKind.UNDEPLOYED, "resnet", 1, "old", at(15)),
        (aliased, "resnet", 1, "old", at(16)),
    ]
    assert not registry.list_facts(True, 0, 100), "the lineage store lacks what is known of old versions since"
    assert {fact.author.user for fact in facts if fact.kind is FactKind.REGISTERED} == {"ann"}
    assert {(fact.author.user, fact.author.reason) for fact in facts if fact.kind is aliased} == {("bob", "better")}
    assert facts[-1].details == {"kind": "remove", "from_version": 1}
    assert [fact.details for fact in facts if fact.kind is deployed] == [
        {"replicas": replicas, "threads": 1} for replicas in (2, 2, 3, 2)
    ]
    assert registry.create_version(make_draft("new"), NOW).number == 1, "facts go on after those of the past"


def test_versions_of_the_past_are_searched(registry: RegistryStore, upgraded: Any) -> None:
    values = schema.version_values
    with upgraded.reading() as connection:
        query = sa.select(values).where(values.c.number == 2).order_by(values.c.kind, values.c.key)
        found = [tuple(row)[2:] for row in connection.execute(query)]
    assert found == [
        ("metric", "loss", None, None, -1e300),
        ("metric", "top1", None, None, 0.1),
        ("parameter", "lr", "1e-3", "1e-3", 0.001),
        ("parameter", "note", "1e999", "1e999", None),
        ("tag", "team", LONG_TEXT, LONG_TEXT[:100], None),
    ]


def test_references_are_checked_again_after_an_upgrade(upgraded: Any) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught, upgraded.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM versions"))
    assert "foreign key" in str(caught.value).lower()


def test_a_database_with_a_broken_reference_is_not_upgraded(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/yard.db"
    make_old_database(url, "0001")
    engine = create_engine(url)
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute("DELETE FROM models WHERE name = 'bert'")
    engine.dispose()
    before = read_all(url)
    with pytest.raises(UnavailableError, match="a row of versions refers to one of models that is not there"):
        open_database(url)
    assert read_all(url) == before


def read_all(url: str) -> dict[str, list[Any]]:
    engine = create_engine(url)
    tables = sa.MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        found = {
            table.name: [str(row) for row in connection.execute(sa.select(table))] for table in tables.sorted_tables
        }
    engine.dispose()
    return found


@pytest.mark.slow
def test_an_upgrade_that_is_killed_leaves_the_old_database(old: str) -> None:
    before = read_all(old)
    for step in STEPS[sa.make_url(old).get_backend_name()]:
        killed = subprocess.run([sys.executable, "-c", KILLED, old, step], check=False)
        assert killed.returncode == -signal.SIGKILL, step
        assert read_all(old) == before, step
    database = open_database(old)
    assert SqlRegistryStore(database).get_version("resnet", 2).created_at == at(2)
    database.close()
