"""What every RegistryStore does."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from controlplane.domain import Alias, Deployment, Model, ModelFormat, Signature, TensorSpec, VersionDraft
from controlplane.registry.store import RegistryStore, StateStore
from modelyard.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def draft(model: str = "resnet", content: str = "a", **facts: object) -> VersionDraft:
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    signature = Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "BYTES", ()),))
    return VersionDraft(model, ModelFormat.ONNX, f"file:///{sha256}", sha256, len(content), signature, **facts)  # type: ignore[arg-type]


def alias(version: int, model: str = "resnet", name: str = "production", now: datetime = NOW) -> Alias:
    return Alias(model, name, version, now, user="ann", reason="better")


def test_a_version_comes_back_as_it_was_made(registry: RegistryStore) -> None:
    facts = draft(
        description="straße\n",
        user="ann",
        metrics={"top1": 0.1, "loss": -1e300},
        parameters={"lr": "1e-3"},
        tags={"team": "vision"},
    )
    made = registry.create_version(facts, NOW)
    assert made.facts == facts
    assert registry.get_version("resnet", 1) == made
    assert registry.get_version("resnet", 1).created_at.utcoffset() == timedelta(0)


def test_moments_of_other_time_zones_come_back_in_utc(registry: RegistryStore) -> None:
    seoul = NOW.astimezone(timezone(timedelta(hours=9)))
    registry.create_version(draft(), seoul)
    assert registry.get_version("resnet", 1).created_at == NOW
    assert registry.get_model("resnet").created_at == NOW


def test_versions_are_numbered_from_one_for_each_model(registry: RegistryStore) -> None:
    made = [registry.create_version(draft(model, content), NOW) for model in ("a", "b") for content in "123"]
    assert [version.model_id for version in made] == ["a@1", "a@2", "a@3", "b@1", "b@2", "b@3"]
    assert registry.get_model("a").latest_version == 3


def test_bytes_that_the_model_has_already_are_refused_by_model_id(registry: RegistryStore) -> None:
    registry.create_version(draft(content="a"), NOW)
    registry.create_version(draft(content="b"), NOW)
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        registry.create_version(draft(content="a"), NOW)
    assert registry.create_version(draft("other", content="a"), NOW).model_id == "other@1"
    assert registry.create_version(draft(content="c"), NOW).number == 3


def test_concurrent_registrations_get_dense_unique_numbers(registry: RegistryStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: registry.create_version(draft(content=str(n)), NOW).number, range(24)))
    assert sorted(made) == list(range(1, 25))


def test_what_is_not_there_is_refused_with_what_is(registry: RegistryStore) -> None:
    with pytest.raises(NotFoundError, match="none is registered yet"):
        registry.get_model("resnet")
    registry.create_version(draft("resnet-50"), NOW)
    with pytest.raises(NotFoundError, match="did you mean resnet-50"):
        registry.get_model("Resnet50")
    with pytest.raises(NotFoundError, match="version 1 only"):
        registry.get_version("resnet-50", 2)
    with pytest.raises(NotFoundError, match="did you mean resnet-50"):
        registry.list_versions("resnet-5", 10, "")


def test_models_are_listed_by_name_in_pages(registry: RegistryStore) -> None:
    names = ["c", "a", "e", "b", "d"]
    for name in names:
        registry.create_version(draft(name), NOW)
    registry.set_alias(alias(1, model="d"))
    seen: list[Model] = []
    token = ""
    while True:
        page = registry.list_models(2, token)
        seen += page.items
        token = page.next_token
        if not token:
            break
    assert [model.name for model in seen] == sorted(names)
    assert [len(model.aliases) for model in seen] == [0, 0, 0, 1, 0]


def test_versions_are_listed_newest_first_in_pages(registry: RegistryStore) -> None:
    for content in "1234":
        registry.create_version(draft(content=content), NOW)
    first = registry.list_versions("resnet", 2, "")
    second = registry.list_versions("resnet", 2, first.next_token)
    assert [version.number for version in (*first.items, *second.items)] == [4, 3, 2, 1]
    assert second.next_token == ""


@pytest.mark.parametrize("token", ["x", "AAAA", "WyJtb2RlbHMiLCAxXQ==", "é", "W" * 5000])
def test_a_page_token_of_nobody_is_refused(registry: RegistryStore, token: str) -> None:
    registry.create_version(draft(), NOW)
    with pytest.raises(InvalidArgumentError, match="page token"):
        registry.list_models(10, token)
    with pytest.raises(InvalidArgumentError, match="page token"):
        registry.list_versions("resnet", 10, token)


def test_a_page_token_of_another_listing_is_refused(registry: RegistryStore) -> None:
    for model in ("a", "b"):
        for content in "12":
            registry.create_version(draft(model, content), NOW)
    token = registry.list_versions("a", 1, "").next_token
    with pytest.raises(InvalidArgumentError):
        registry.list_versions("b", 1, token)


def test_an_alias_is_made_and_moved(registry: RegistryStore) -> None:
    for content in "12":
        registry.create_version(draft(content=content), NOW)
    assert registry.set_alias(alias(1)) == alias(1)
    later = alias(2, now=NOW + timedelta(days=1))
    assert registry.set_alias(later) == later
    assert registry.get_model("resnet").aliases == (later,)


def test_an_alias_that_points_there_already_is_left_as_it_is(registry: RegistryStore, state: StateStore) -> None:
    registry.create_version(draft(), NOW)
    registry.set_alias(alias(1))
    revision = state.load_state().revision
    assert registry.set_alias(alias(1, now=NOW + timedelta(days=1))).moved_at == NOW
    assert state.load_state().revision == revision


def test_an_alias_points_only_to_what_is_there(registry: RegistryStore) -> None:
    with pytest.raises(NotFoundError, match="no model"):
        registry.set_alias(alias(1))
    registry.create_version(draft(), NOW)
    with pytest.raises(NotFoundError, match="no version 2"):
        registry.set_alias(alias(2))
    assert registry.get_model("resnet").aliases == ()


def test_an_alias_in_use_is_not_deleted(registry: RegistryStore, state: StateStore) -> None:
    registry.create_version(draft(), NOW)
    registry.set_alias(alias(1))
    state.put_deployment(Deployment("resnet", "production"), NOW)
    with pytest.raises(FailedPreconditionError, match="modelyard undeploy resnet --alias production"):
        registry.delete_alias("resnet", "production", "ann", "", NOW)
    state.delete_deployment(Deployment("resnet", "production").key, NOW)
    registry.delete_alias("resnet", "production", "ann", "", NOW)
    assert registry.get_model("resnet").aliases == ()


def test_deleting_an_unknown_alias_tells_which_there_are(registry: RegistryStore) -> None:
    registry.create_version(draft(), NOW)
    registry.set_alias(alias(1))
    with pytest.raises(NotFoundError, match="it has production"):
        registry.delete_alias("resnet", "staging", "ann", "", NOW)


def test_versions_stay_unrecorded_until_they_are_marked(registry: RegistryStore) -> None:
    for content in "123":
        registry.create_version(draft(content=content), NOW)
    registry.create_version(draft("bert"), NOW)

    def listed(recorded: bool, after: tuple[str, int] = ("", 0), limit: int = 10) -> list[str]:
        return [version.model_id for version in registry.list_for_lineage(recorded, after, limit)]

    assert listed(False, limit=2) == ["bert@1", "resnet@1"]
    assert listed(False, after=("resnet", 1)) == ["resnet@2", "resnet@3"]
    for _ in range(2):
        registry.mark_recorded("resnet", 2, True)
    assert (listed(False), listed(True)) == (["bert@1", "resnet@1", "resnet@3"], ["resnet@2"])
    registry.mark_recorded("resnet", 2, False)
    assert listed(True) == []


def test_bytes_are_looked_for_by_model(registry: RegistryStore) -> None:
    sha256 = registry.create_version(draft(), NOW).facts.sha256
    with pytest.raises(AlreadyExistsError, match="resnet@1 has exactly these bytes already"):
        registry.check_new("resnet", sha256)
    registry.check_new("bert", sha256)
    registry.check_new("resnet", "0" * 64)
