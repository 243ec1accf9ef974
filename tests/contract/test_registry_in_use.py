"""What the registry and the state of the yard do with each other, and the tables that only the database has."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from controlplane.domain import Allocation, Deployment, Fact, FactKind, Plan, Replica, VersionEdit, Wish
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.schema import deployment_changes, version_values
from controlplane.registry.store import RegistryStore, StateStore
from modelyard.errors import FailedPreconditionError
from tests.contract.conftest import Stores
from tests.harness.records import NOW, make_alias, make_author, make_draft

PRODUCTION = Deployment("resnet", "production", replicas=2, threads=3)


@pytest.fixture
def registry(stores: Stores) -> RegistryStore:
    return stores.registry


@pytest.fixture(autouse=True)
def two_versions(registry: RegistryStore) -> None:
    """`production` points to resnet@1."""
    for content in "ab":
        registry.create_version(make_draft(content=content), NOW)
    registry.set_alias(make_alias(1))


def read_facts(registry: RegistryStore, *kinds: FactKind) -> Sequence[Fact]:
    return [fact for fact in registry.list_facts(False, 0, 1000) if fact.kind in kinds]


def test_an_alias_in_use_is_not_removed(registry: RegistryStore, state: StateStore) -> None:
    state.put_deployment(PRODUCTION, make_author())
    with pytest.raises(FailedPreconditionError, match="modelyard undeploy resnet --alias production"):
        registry.delete_alias("resnet", "production", make_author())
    state.delete_deployment(PRODUCTION.key, make_author())
    registry.delete_alias("resnet", "production", make_author())
    assert registry.get_model("resnet").aliases == ()


def test_moves_wake_the_yard_and_what_moves_nothing_does_not(registry: RegistryStore, state: StateStore) -> None:
    seen = [state.load_state().revision]
    registry.set_alias(make_alias(1))
    assert state.load_state().revision == seen[0]
    registry.set_alias(make_alias(2))
    seen.append(state.load_state().revision)
    registry.roll_back_alias("resnet", "production", make_author())
    seen.append(state.load_state().revision)
    registry.delete_alias("resnet", "production", make_author())
    seen.append(state.load_state().revision)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("wish", Wish)
def test_a_version_is_not_deleted_while_a_replica_has_it(
    registry: RegistryStore, state: StateStore, wish: Wish
) -> None:
    replica = Replica("r-1", "resnet", 1, "production", "host-1", Allocation((0,), 1, 1), wish)
    state.apply_plan(Plan(create=(replica,)), state.load_state().revision)
    registry.set_alias(make_alias(2))
    with pytest.raises(FailedPreconditionError, match=r"while replicas have it: r-1; .* gone from: modelyard replicas"):
        registry.delete_version("resnet", 1, make_author())
    state.apply_plan(Plan(delete=("r-1",)), state.load_state().revision)
    assert registry.delete_version("resnet", 1, make_author()).deleted_at == NOW


def test_a_deployed_version_is_not_deleted(registry: RegistryStore, state: StateStore) -> None:
    state.put_deployment(PRODUCTION, make_author())
    with pytest.raises(FailedPreconditionError, match="an alias points to it: production"):
        registry.delete_version("resnet", 1, make_author())


def test_a_deployment_is_told_of_each_version_that_it_gets(registry: RegistryStore, state: StateStore) -> None:
    state.put_deployment(PRODUCTION, make_author("ann", "launch"))
    state.put_deployment(Deployment("resnet", "production", replicas=5), make_author("ann", "more"))
    registry.set_alias(make_alias(2, after_s=1))
    registry.set_alias(make_alias(1, name="staging"))
    state.delete_deployment(PRODUCTION.key, make_author("bob", "over", after_s=2))
    told = read_facts(registry, FactKind.DEPLOYED, FactKind.UNDEPLOYED)
    assert [(fact.kind, fact.version, fact.alias, fact.author, fact.details) for fact in told] == [
        (FactKind.DEPLOYED, 1, "production", make_author("ann", "launch"), {"replicas": 2, "threads": 3}),
        (FactKind.DEPLOYED, 1, "production", make_author("ann", "more"), {"replicas": 5, "threads": 1}),
        (FactKind.DEPLOYED, 2, "production", make_author("ann", "better", after_s=1), {"replicas": 5, "threads": 1}),
        (FactKind.UNDEPLOYED, 2, "production", make_author("bob", "over", after_s=2), {}),
    ]


@pytest.mark.parametrize("change", [{"replicas": 3}, {"threads": 1}, {"memory_bytes": 1 << 30}, {"no_retries": True}])
def test_each_change_of_a_deployment_is_told_and_what_changes_nothing_is_not(
    registry: RegistryStore, state: StateStore, change: dict[str, Any]
) -> None:
    for wished in (PRODUCTION, PRODUCTION, replace(PRODUCTION, **change), replace(PRODUCTION, **change)):
        state.put_deployment(wished, make_author())
    wanted = {"replicas": 2, "threads": 3}
    told = [fact.details for fact in read_facts(registry, FactKind.DEPLOYED)]
    assert told == [wanted, {name: change.get(name, value) for name, value in wanted.items()}]


def test_the_history_of_deployments_tells_who_and_why(state: StateStore, database: Database) -> None:
    state.put_deployment(PRODUCTION, make_author("ann", "launch"))
    state.delete_deployment(PRODUCTION.key, make_author("bob", "over"))
    columns = (deployment_changes.c.replicas, deployment_changes.c.user_name, deployment_changes.c.reason)
    with database.reading() as connection:
        kept = connection.execute(sa.select(*columns).order_by(deployment_changes.c.id)).all()
    assert [tuple(row) for row in kept] == [(2, "ann", "launch"), (None, "bob", "over")]


def test_versions_are_searched_by_what_they_hold_now(registry: RegistryStore, database: Database) -> None:
    long = "ß" * 150
    facts = make_draft(content="c", metrics={"top1": 0.5}, parameters={"lr": "1e-3", "n": "inf"}, tags={"t": long})
    registry.create_version(facts, NOW)
    edit = VersionEdit(set_tags={"new": "42"}, add_metrics={"loss": -1e300})
    registry.edit_version("resnet", 3, edit, make_author(), None)
    kept = [
        ("metric", "loss", None, None, -1e300),
        ("metric", "top1", None, None, 0.5),
        ("parameter", "lr", "1e-3", "1e-3", 0.001),
        ("parameter", "n", "inf", "inf", None),
        ("tag", "new", "42", "42", 42.0),
        ("tag", "t", long, "ß" * 100, None),
    ]
    assert read_values(database) == kept
    registry.edit_version("resnet", 3, VersionEdit(remove_tags=("t",)), make_author(), None)
    assert read_values(database) == kept[:-1]


def read_values(database: Database) -> list[tuple[Any, ...]]:
    columns = [version_values.c[name] for name in ("kind", "key", "text_value", "text_prefix", "number_value")]
    query = sa.select(*columns).order_by(version_values.c.kind, version_values.c.key)
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(query)]
