"""What every RegistryStore does with models and versions."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from controlplane.domain import (
    FormatDetails,
    Model,
    ModelFormat,
    OnnxDetails,
    Origin,
    Packaging,
    Sample,
    SavedModelDetails,
    Source,
    TensorrtDetails,
)
from controlplane.registry.store import RegistryStore
from controlplane.registry.version_query import VersionQuery
from modelyard.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from tests.harness.records import NOW, SIGNATURE, make_alias, make_author, make_draft, make_sha256

RESNET = VersionQuery(model="resnet")


def test_a_version_comes_back_as_it_was_made(registry: RegistryStore) -> None:
    facts = make_draft(
        description="straße\n",
        user="ann",
        metrics={"top1": 0.1, "loss": -1e300},
        parameters={"lr": "1e-3"},
        tags={"team": "vision"},
        packaging=Packaging.TAR,
        source=Source("c0ffee", "run-7", "s3://data/train"),
        sample=Sample(make_sha256("sample"), 12, is_made=True),
        origin=Origin("other@3", "eve", NOW),
    )
    made = registry.create_version(facts, NOW)
    assert (made.facts, made.revision, made.deleted_at, made.purged_at) == (facts, 0, None, None)
    assert registry.get_version("resnet", 1) == made
    assert registry.get_version("resnet", 1).created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("format_", "details"),
    [
        (ModelFormat.ONNX, OnnxDetails(9, {"": 18, "ai.onnx.ml": 3}, "pytorch", "2.1", ("weights.bin",))),
        (ModelFormat.SAVEDMODEL, SavedModelDetails("2.16.1", ("serve",), {"serve": SIGNATURE}, "serve")),
        (ModelFormat.TENSORRT, TensorrtDetails("8.6.1", "A100")),
    ],
)
def test_what_only_one_format_has_comes_back(
    registry: RegistryStore, format_: ModelFormat, details: FormatDetails
) -> None:
    facts = replace(make_draft(), format=format_, details=details)
    registry.create_version(facts, NOW)
    assert registry.get_version("resnet", 1).facts == facts


def test_moments_of_other_time_zones_come_back_in_utc(registry: RegistryStore) -> None:
    seoul = NOW.astimezone(timezone(timedelta(hours=9)))
    registry.create_version(make_draft(), seoul)
    assert registry.get_version("resnet", 1).created_at == NOW
    assert registry.get_model("resnet").created_at == NOW


def test_versions_are_numbered_from_one_for_each_model(registry: RegistryStore) -> None:
    made = [registry.create_version(make_draft(model, content), NOW) for model in ("a", "b") for content in "123"]
    assert [version.model_id for version in made] == ["a@1", "a@2", "a@3", "b@1", "b@2", "b@3"]
    assert registry.get_model("a").latest_version == 3


def test_bytes_that_the_model_has_already_are_refused_by_model_id(registry: RegistryStore) -> None:
    registry.create_version(make_draft(content="a"), NOW)
    registry.create_version(make_draft(content="b"), NOW)
    with pytest.raises(AlreadyExistsError, match="resnet@1"):
        registry.create_version(make_draft(content="a"), NOW)
    assert registry.create_version(make_draft("other", content="a"), NOW).model_id == "other@1"
    assert registry.create_version(make_draft(content="c"), NOW).number == 3


def test_bytes_are_looked_for_by_model(registry: RegistryStore) -> None:
    sha256 = registry.create_version(make_draft(), NOW).facts.sha256
    with pytest.raises(AlreadyExistsError, match="resnet@1 has exactly these bytes already"):
        registry.check_new("resnet", sha256)
    registry.check_new("bert", sha256)
    registry.check_new("resnet", "0" * 64)


def test_bytes_of_a_deleted_version_are_known_and_of_a_purged_one_are_not(registry: RegistryStore) -> None:
    first = registry.create_version(make_draft(), NOW)
    registry.delete_version("resnet", 1, make_author())
    for refused in (
        lambda: registry.check_new("resnet", first.facts.sha256),
        lambda: registry.create_version(make_draft(), NOW),
    ):
        with pytest.raises(AlreadyExistsError, match=r"resnet@1 .* deleted; .*modelyard restore resnet@1"):
            refused()
    registry.purge_version("resnet", 1, make_author())
    registry.check_new("resnet", first.facts.sha256)
    assert registry.create_version(make_draft(), NOW).number == 2
    with pytest.raises(AlreadyExistsError, match="resnet@2"):
        registry.create_version(make_draft(), NOW)


def test_content_is_found_whoever_has_it(registry: RegistryStore) -> None:
    sha256 = make_sha256("a")
    assert registry.find_content(sha256) is None
    registry.create_version(make_draft("bert", "b"), NOW)
    made = registry.create_version(make_draft("resnet", "a"), NOW)
    assert registry.find_content(sha256) == made
    deleted = registry.delete_version("resnet", 1, make_author())
    assert registry.find_content(sha256) == deleted
    registry.purge_version("resnet", 1, make_author())
    assert registry.find_content(sha256) is None


def test_concurrent_registrations_get_dense_unique_numbers(registry: RegistryStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: registry.create_version(make_draft(content=str(n)), NOW).number, range(24)))
    assert sorted(made) == list(range(1, 25))


def test_of_concurrent_registrations_of_the_same_bytes_one_wins(registry: RegistryStore) -> None:
    def register(_: int) -> int:
        try:
            return registry.create_version(make_draft(), NOW).number
        except AlreadyExistsError as error:
            assert "resnet@1" in error.message
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(register, range(8))) == [0] * 7 + [1]


def test_what_is_not_there_is_refused_with_what_is(registry: RegistryStore) -> None:
    with pytest.raises(NotFoundError, match="none is registered yet"):
        registry.get_model("resnet")
    registry.create_version(make_draft("resnet-50"), NOW)
    with pytest.raises(NotFoundError, match="did you mean resnet-50"):
        registry.get_model("Resnet50")
    with pytest.raises(NotFoundError, match="version 1 only"):
        registry.get_version("resnet-50", 2)
    with pytest.raises(NotFoundError, match="did you mean resnet-50"):
        registry.list_versions(VersionQuery(model="resnet-5"), 10, "")
    with pytest.raises(NotFoundError, match="no version 2"):
        registry.list_changes("resnet-50", 2, 100, "")
    with pytest.raises(NotFoundError, match="no model"):
        registry.list_moves("resnet-5", "", 10, "")


def test_models_are_listed_by_name_in_pages(registry: RegistryStore) -> None:
    names = ["c", "a", "e", "b", "d"]
    for name in names:
        registry.create_version(make_draft(name), NOW)
    registry.set_alias(make_alias(1, "d"))
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


def test_a_model_is_listed_though_its_versions_are_deleted(registry: RegistryStore) -> None:
    registry.create_version(make_draft(), NOW)
    registry.delete_version("resnet", 1, make_author())
    assert [model.latest_version for model in registry.list_models(10, "").items] == [1]
    assert registry.list_versions(RESNET, 10, "").items == []
    assert registry.create_version(make_draft(content="b"), NOW).number == 2


def test_versions_are_listed_newest_first_in_pages(registry: RegistryStore) -> None:
    for content in "1234":
        registry.create_version(make_draft(content=content), NOW)
    first = registry.list_versions(RESNET, 2, "")
    second = registry.list_versions(RESNET, 2, first.next_token)
    assert [version.number for version in (*first.items, *second.items)] == [4, 3, 2, 1]
    assert second.next_token == ""


def test_versions_of_all_models_are_listed_by_model(registry: RegistryStore) -> None:
    for model in ("b", "a"):
        for content in "12":
            registry.create_version(make_draft(model, content), NOW)
    registry.delete_version("a", 2, make_author())
    listed = registry.list_versions(VersionQuery(), 10, "").items
    assert [version.model_id for version in listed] == ["a@1", "b@2", "b@1"]
    with_deleted = registry.list_versions(VersionQuery(show_deleted=True), 10, "").items
    assert [version.model_id for version in with_deleted] == ["a@2", "a@1", "b@2", "b@1"]


@pytest.mark.parametrize("token", ["x", "AAAA", "WyJtb2RlbHMiLCAxXQ==", "é", "W" * 5000])
def test_a_page_token_of_nobody_is_refused(registry: RegistryStore, token: str) -> None:
    registry.create_version(make_draft(), NOW)
    with pytest.raises(InvalidArgumentError, match="page token"):
        registry.list_models(10, token)
    with pytest.raises(InvalidArgumentError, match="page token"):
        registry.list_versions(RESNET, 10, token)
    with pytest.raises(InvalidArgumentError, match="page token"):
        registry.list_moves("resnet", "", 10, token)


def test_a_page_token_of_another_listing_is_refused(registry: RegistryStore) -> None:
    for model in ("a", "b"):
        for content in "12":
            registry.create_version(make_draft(model, content), NOW)
            registry.set_alias(make_alias(int(content), model))
    token = registry.list_versions(VersionQuery(model="a"), 1, "").next_token
    with pytest.raises(InvalidArgumentError):
        registry.list_versions(VersionQuery(model="b"), 1, token)
    token = registry.list_moves("a", "", 1, "").next_token
    with pytest.raises(InvalidArgumentError):
        registry.list_moves("a", "production", 1, token)
