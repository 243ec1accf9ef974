"""What a fact becomes, before any store sees it."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controlplane.domain import Fact, FactKind, OnnxDetails, Origin, Sample, Source, Version
from controlplane.registry.lineage.kinds import KINDS, TYPES, VERSION
from controlplane.registry.lineage.records import Record, compute_record, time_to_text
from controlplane.registry.lineage.texts import is_plain, keepable, keepable_name
from tests.harness.records import NOW, make_author, make_draft

NOTHING_TOLD = Source()


def record(of: FactKind, number: int = 7, /, alias: str = "", source: Source = NOTHING_TOLD, **details: Any) -> Record:
    fact = Fact(number, of, "resnet", 3, make_author(), alias, details)
    return compute_record(fact, Version(3, make_draft(source=source), NOW))


def test_every_kind_of_fact_becomes_an_execution_with_who_when_and_why() -> None:
    assert KINDS.keys() == set(FactKind)
    for kind in FactKind:
        made = record(kind)
        known = {name: made.execution.properties[name] for name in ("user", "reason", "time", "fact")}
        assert known == {"user": "bob", "reason": "why", "time": "2026-01-02T03:04:05.000678Z", "fact": 7}
        assert made.execution.properties.keys() <= TYPES[made.execution.key.type].keys()
        assert made.version.properties.keys() <= TYPES[made.version.key.type].keys()
        (own,) = made.links
        assert (own.artifact, own.execution, own.at) == (made.version.key, made.execution.key, NOW)
        assert own.is_output is (kind is FactKind.REGISTERED)


def test_the_details_of_a_fact_become_properties() -> None:
    move = record(FactKind.ALIASED, alias="production", kind="set", from_version=2)
    assert {**move.execution.properties} | {"alias": "production", "kind": "set", "from_version": 2} == {
        **move.execution.properties
    }
    first = record(FactKind.ALIASED, alias="production", kind="set", from_version=None)
    assert "from_version" not in first.execution.properties
    change = record(FactKind.CHANGED, revision=1, changes={"tags": {"from": {}, "to": {"a": "b"}}})
    assert json.loads(str(change.execution.properties["changes"])) == {"tags": {"from": {}, "to": {"a": "b"}}}
    deployment = record(FactKind.DEPLOYED, alias="production", replicas=2, threads=1)
    assert deployment.execution.properties["deployment"] == "resnet/production"
    assert [context.key.name for context in deployment.contexts] == ["resnet", "resnet/production"]


def test_all_that_is_known_of_a_version_is_kept() -> None:
    facts = make_draft(
        details=OnnxDetails(8, {"": 17}),
        source=Source("9fceb02", "run-42", "s3://data", "s3://models/resnet.onnx"),
        sample=Sample("5" * 64, 10, True),
        origin=Origin("old@1"),
        metrics={"top1": 1},
        tags={"team": "vision"},
    )
    fact = Fact(1, FactKind.REGISTERED, "resnet", 3, make_author())
    version = compute_record(fact, Version(3, facts, NOW, revision=2)).version
    expected = {
        "git_commit": "9fceb02",
        "training_run": "run-42",
        "dataset_uri": "s3://data",
        "read_from": "s3://models/resnet.onnx",
        "sample_sha256": "5" * 64,
        "imported_from": "old@1",
        "packaging": "file",
        "revision": 2,
    }
    assert {key: version.properties[key] for key in expected} == expected
    assert json.loads(str(version.properties["details"]))["opsets"] == {"": 17}
    declared = TYPES[VERSION]
    assert version.properties.keys() <= declared.keys()
    assert version.custom == {"metric.top1": 1.0, "tag.team": "vision"}


@pytest.mark.parametrize(
    ("deleted", "purged", "state"),
    [(None, None, "LIVE"), (NOW, None, "MARKED_FOR_DELETION"), (NOW, NOW, "DELETED")],
)
def test_the_state_of_a_version_is_the_one_it_has_now(deleted: Any, purged: Any, state: str) -> None:
    version = Version(3, make_draft(), NOW, deleted_at=deleted, purged_at=purged)
    assert compute_record(Fact(1, FactKind.ALIASED, "resnet", 3, make_author()), version).version.state == state


def test_versions_of_one_run_share_it_and_those_of_another_of_its_name_do_not() -> None:
    def run_names(*sources: Source) -> list[str]:
        return [record(FactKind.REGISTERED, source=source).origins[0].key.name for source in sources]

    same = Source("9fceb02", "run-42", "s3://data")
    names = run_names(same, same, replace(same, git_commit="1b2c3d4"), replace(same, dataset_uri="s3://other"))
    assert names[0] == names[1] and len(set(names)) == 3
    assert all(name.startswith("run-42 ") for name in names)
    assert run_names(Source(git_commit="9fceb02")) == ["resnet@3"]  # a run that nobody named is the version's own


def test_two_facts_never_have_one_name() -> None:
    names = {record(FactKind.ALIASED, number, alias="a").execution.key.name for number in (7, 8)}
    later = Fact(7, FactKind.ALIASED, "resnet", 3, make_author(after_s=1), "a")
    names.add(compute_record(later, Version(3, make_draft(), NOW)).execution.key.name)
    assert len(names) == 3


def test_times_compare_as_their_texts_do() -> None:
    times = [NOW, NOW + timedelta(microseconds=1), NOW + timedelta(seconds=1), NOW + timedelta(days=400)]
    assert sorted(map(time_to_text, times)) == list(map(time_to_text, times))


@pytest.mark.parametrize("text", ["", "a", 'o\'hara said "é"', "x" * 2000, "é" * 1000, "line\nline"])
def test_a_text_that_can_be_kept_stays(text: str) -> None:
    assert keepable(text) == text


@pytest.mark.parametrize("text", ["x" * 2001, "é" * 1001, "\U0001f600" * 501, "a\\b", "a\0b", "\\" * 3000])
def test_a_text_that_cannot_be_kept_is_made_so(text: str) -> None:
    kept = keepable(text)
    assert kept != text and kept[:1] == text[:1].replace("\\", "\u29f5")
    assert len(kept.encode()) <= 2000
    assert not {"\\", "\0"} & set(kept)
    assert keepable(kept) == kept


def test_different_names_stay_different() -> None:
    names = ["n" * 255, "n" * 256, "n" * 255 + "m", "a\\b", "a\u29f5b", "a\0b", "a\ufffdb"]
    kept = [keepable_name(name) for name in names]
    assert len(set(kept)) == len(names)
    assert kept[0] == names[0]
    assert max(map(len, kept)) == 255
    assert not {"\\", "\0"} & set("".join(kept))


@pytest.mark.parametrize("text", ["o'hara", 'a"b', "a\\b", "a\nb", "a;b", "é"])
def test_only_a_plain_text_stands_in_a_filter(text: str) -> None:
    assert not is_plain(text)
    assert is_plain("resnet@3 2026-01-02T03:04:05.000678Z #17")
