"""What every StateStore does."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from controlplane.domain import (
    Alias,
    Allocation,
    Author,
    Deployment,
    DeploymentKey,
    Endpoint,
    FactKind,
    GpuShare,
    ModelFormat,
    NodeScheduling,
    Plan,
    Pool,
    Replica,
    Route,
    RouteTable,
    Schedulability,
    Serving,
    Signature,
    TensorSpec,
    VersionDraft,
    Wish,
)
from controlplane.registry.store import RegistryStore, StateStore
from modelyard.errors import AbortedError, NotFoundError
from tests.contract.conftest import Stores

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ANN = Author(NOW, "ann", "why")
RESNET = Deployment("resnet", "production", replicas=2, threads=4, memory_bytes=1 << 40, no_retries=True)


@pytest.fixture
def registry(stores: Stores) -> RegistryStore:
    return stores.registry


@pytest.fixture(autouse=True)
def three_versions(registry: RegistryStore) -> None:
    """resnet@1 to resnet@3; `production` is 2, `staging` is 1."""
    spec = (TensorSpec("x", "FP32", (-1,)),)
    for number in (1, 2, 3):
        facts = VersionDraft("resnet", ModelFormat.ONNX, "", str(number) * 64, 1, Signature(spec, spec))
        registry.create_version(facts, NOW)
    registry.set_alias(Alias("resnet", "production", 2, NOW))
    registry.set_alias(Alias("resnet", "staging", 1, NOW))


def replica(replica_id: str, version: int = 2) -> Replica:
    return Replica(
        replica_id, "resnet", version, "production", "host-1", Allocation((0, 3), 2, 1 << 33), takes_over="r0"
    )


def place(state: StateStore, *replicas: Replica) -> int:
    return state.apply_plan(Plan(create=replicas), state.load_state().revision)


def test_an_empty_yard_has_nothing(state: StateStore) -> None:
    stored = state.load_state()
    assert (stored.deployments, stored.replicas, stored.versions) == ({}, {}, {})
    assert stored.route_table == RouteTable()
    assert stored.next_replica_number == 1
    assert stored.aliases == {}


def test_the_state_holds_all_aliases_of_the_models_that_are_deployed(
    registry: RegistryStore, state: StateStore
) -> None:
    registry.create_version(replace(registry.get_version("resnet", 1).facts, model="bert"), NOW)
    registry.set_alias(Alias("bert", "production", 1, NOW))
    state.put_deployment(RESNET, ANN)
    found = {(key.model, key.alias): alias.version for key, alias in state.load_state().aliases.items()}
    assert found == {("resnet", "production"): 2, ("resnet", "staging"): 1}


def test_a_deployment_comes_back_as_it_was_put(state: StateStore) -> None:
    state.put_deployment(RESNET, ANN)
    assert state.get_deployment(RESNET.key) == RESNET
    assert state.load_state().deployments == {RESNET.key: RESNET}
    changed = replace(RESNET, replicas=7, no_retries=False)
    state.put_deployment(changed, ANN)
    assert state.load_state().deployments == {RESNET.key: changed}


def test_only_an_alias_that_is_set_can_be_deployed(state: StateStore) -> None:
    with pytest.raises(NotFoundError, match="modelyard alias set resnet canary VERSION"):
        state.put_deployment(Deployment("resnet", "canary"), ANN)
    with pytest.raises(NotFoundError, match="did you mean resnet"):
        state.put_deployment(Deployment("resnett", "production"), ANN)


def test_an_unknown_deployment_is_refused_with_what_is_deployed(registry: RegistryStore, state: StateStore) -> None:
    with pytest.raises(NotFoundError, match="'resnet' is not deployed by its alias 'production', nor by any other"):
        state.get_deployment(RESNET.key)
    state.put_deployment(RESNET, ANN)
    with pytest.raises(NotFoundError, match="'resnet' is not deployed by its alias 'staging', only by production"):
        state.delete_deployment(DeploymentKey("resnet", "staging"), ANN)
    with pytest.raises(NotFoundError, match="there is no model 'resnett'; did you mean resnet"):
        state.delete_deployment(DeploymentKey("resnett", "production"), ANN)
    state.delete_deployment(RESNET.key, ANN)
    assert state.load_state().deployments == {}


def test_what_is_not_deployed_names_no_other_model(registry: RegistryStore, state: StateStore) -> None:
    spec = (TensorSpec("x", "FP32", (-1,)),)
    registry.create_version(VersionDraft("resnet2", ModelFormat.ONNX, "", "9" * 64, 1, Signature(spec, spec)), NOW)
    state.put_deployment(RESNET, ANN)
    with pytest.raises(NotFoundError) as caught:
        state.delete_deployment(DeploymentKey("resnet2", "production"), ANN)
    assert caught.value.message == "'resnet2' is not deployed by its alias 'production', nor by any other"


def test_the_revision_grows_with_each_change_and_only_then(registry: RegistryStore, state: StateStore) -> None:
    def revision() -> int:
        return state.load_state().revision

    seen = [revision()]
    state.put_deployment(RESNET, ANN)
    seen.append(revision())
    registry.set_alias(Alias("resnet", "production", 3, NOW))
    seen.append(revision())
    seen.append(place(state, replica("r1")))
    state.store_route_table(RouteTable(1), {"r1": 1})
    seen.append(revision())
    registry.delete_alias("resnet", "staging", ANN)
    seen.append(revision())
    state.delete_deployment(RESNET.key, ANN)
    seen.append(revision())
    assert seen == sorted(set(seen))
    state.store_route_table(RouteTable(2), {})
    assert state.apply_plan(Plan(), revision()) == revision() == seen[-1]


def test_putting_the_same_deployment_again_changes_nothing(state: StateStore) -> None:
    state.put_deployment(RESNET, ANN)
    before = state.load_state()
    state.put_deployment(RESNET, ANN)
    assert state.load_state() == before


def test_a_plan_creates_updates_and_deletes(state: StateStore) -> None:
    place(state, replica("r1"), replica("r2"))
    stored = state.load_state()
    assert stored.replicas == {"r1": replica("r1"), "r2": replica("r2")}
    retiring = replace(replica("r2"), wish=Wish.RETIRE, retired_in=9, takes_over="")
    state.apply_plan(Plan(create=(replica("r3", version=3),), update=(retiring,), delete=("r1",)), stored.revision)
    assert state.load_state().replicas == {"r2": retiring, "r3": replica("r3", version=3)}


def test_replica_numbers_are_given_away_once(state: StateStore) -> None:
    place(state, replica("r1"), replica("r2"))
    revision = state.load_state().revision
    state.apply_plan(Plan(delete=("r1", "r2")), revision)
    assert state.load_state().next_replica_number == 3


def test_a_stale_plan_changes_nothing(state: StateStore) -> None:
    stale = state.load_state().revision
    state.put_deployment(RESNET, ANN)
    before = state.load_state()
    with pytest.raises(AbortedError, match="plan again"):
        state.apply_plan(Plan(create=(replica("r1"),)), stale)
    assert state.load_state() == before


def test_a_plan_is_stored_whole_or_not_at_all(state: StateStore) -> None:
    before = state.load_state()
    with pytest.raises(AbortedError, match="'r9' is not there"):
        state.apply_plan(Plan(create=(replica("r1"),), update=(replica("r9"),)), before.revision)
    assert state.load_state() == before


def test_the_state_holds_the_versions_that_are_referred_to(state: StateStore) -> None:
    state.put_deployment(RESNET, ANN)
    assert set(state.load_state().versions) == {("resnet", 2)}
    place(state, replica("r1", version=3))
    stored = state.load_state()
    assert set(stored.versions) == {("resnet", 2), ("resnet", 3)}
    assert stored.versions["resnet", 3].facts.sha256 == "3" * 64


def test_the_newest_route_table_is_kept(state: StateStore) -> None:
    pool = Pool("resnet/production@2", "resnet", 2, (Endpoint("r1", "10.0.0.1", 8000, 3),), no_retries=True)
    routes = (Route("resnet", "resnet", 2, pool.name), Route("resnet@staging", "resnet", 1, "", "nothing is ready"))
    state.store_route_table(RouteTable(1), {})
    state.store_route_table(RouteTable(2, (pool,), routes), {})
    assert state.load_state().route_table == RouteTable(2, (pool,), routes)


def test_a_late_route_table_is_refused(state: StateStore) -> None:
    place(state, replica("r1"))
    newest = RouteTable(2, (), (Route("resnet", "resnet", 2, ""),))
    state.store_route_table(newest, {})
    for late in (RouteTable(1), RouteTable(2)):
        with pytest.raises(AbortedError):
            state.store_route_table(late, {"r1": 2})
    state.store_route_table(newest, {"r1": 2})
    assert state.load_state().route_table == newest
    assert state.load_state().replicas["r1"].retired_in == 2


def test_replicas_learn_which_table_left_them_out(state: StateStore) -> None:
    place(state, replica("r1"), replica("r2"))
    state.store_route_table(RouteTable(5), {"r2": 5, "gone": 5})
    assert {r.replica_id: r.retired_in for r in state.load_state().replicas.values()} == {"r1": 0, "r2": 5}


TRITON = Serving("triton", max_batch_rows=8, max_batch_wait_us=500)
ON_GPU = replace(RESNET, gpu_percent=25, gpu_memory_bytes=1 << 33, serving=TRITON)


def test_a_deployment_on_gpus_comes_back_as_it_was_put(state: StateStore) -> None:
    for wished in (RESNET, ON_GPU, replace(ON_GPU, serving=Serving(max_batch_rows=1)), RESNET):
        state.put_deployment(wished, ANN)
        assert state.get_deployment(RESNET.key) == wished


def test_a_replica_on_a_gpu_comes_back_as_it_was_placed(state: StateStore) -> None:
    share = GpuShare("MIG-0123", 100, 1 << 34)
    allocation = Allocation((0, 3), 2, 1 << 33, share, is_memory_estimated=True)
    placed = replace(replica("r1"), allocation=allocation, serving=TRITON, created_at=NOW)
    place(state, placed, replica("r2"))
    assert state.load_state().replicas == {"r1": placed, "r2": replica("r2")}
    retired = replace(placed, wish=Wish.RETIRE)
    state.apply_plan(Plan(update=(retired,)), state.load_state().revision)
    assert state.load_state().replicas["r1"] == retired


def test_each_change_of_how_a_deployment_is_served_is_told(registry: RegistryStore, state: StateStore) -> None:
    state.put_deployment(RESNET, ANN)
    state.put_deployment(ON_GPU, ANN)
    details = [fact.details for fact in registry.list_facts(False, 0, 100) if fact.kind is FactKind.DEPLOYED]
    bare = {"replicas": 2, "threads": 4}
    chosen = {
        "gpu_percent": 25,
        "gpu_memory_bytes": 1 << 33,
        "runtime": "triton",
        "max_batch_rows": 8,
        "max_batch_wait_us": 500,
    }
    assert details == [bare, {**bare, **chosen}]


def test_a_node_is_as_it_was_last_scheduled(state: StateStore) -> None:
    host = NodeScheduling("host-1", Schedulability.CORDONED, ANN)
    other = NodeScheduling("host-2", Schedulability.DRAINING, Author(NOW))
    for scheduling in (host, other):
        state.put_scheduling(scheduling)
    assert state.load_state().scheduling == {"host-1": host, "host-2": other}
    drained = NodeScheduling("host-1", Schedulability.DRAINING, Author(NOW.replace(year=2027), "bob"))
    state.put_scheduling(drained)
    assert state.load_state().scheduling == {"host-1": drained, "host-2": other}


def test_nothing_is_kept_of_a_node_that_was_opened(state: StateStore) -> None:
    state.put_scheduling(NodeScheduling("host-1", Schedulability.CORDONED, ANN))
    for _ in range(2):
        state.put_scheduling(NodeScheduling("host-1", Schedulability.OPEN, ANN))
        assert state.load_state().scheduling == {}


def test_a_plan_made_before_a_node_was_cordoned_is_refused(state: StateStore) -> None:
    before = state.load_state().revision
    state.put_scheduling(NodeScheduling("host-1", Schedulability.CORDONED, ANN))
    with pytest.raises(AbortedError):
        state.apply_plan(Plan(create=(replica("r1"),)), before)
