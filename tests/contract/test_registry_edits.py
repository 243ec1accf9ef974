"""What every RegistryStore does with what may change of a version, and with its end."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest

from controlplane.domain import Sample, VersionChange, VersionEdit
from controlplane.registry.store import RegistryStore
from modelyard.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from modelyard.resource_names import VersionName
from tests.harness.records import NOW, make_alias, make_author, make_draft, make_sha256


@pytest.fixture(autouse=True)
def one_version(registry: RegistryStore) -> None:
    facts = make_draft(description="old", metrics={"top1": 0.5}, tags={"team": "vision", "gone": "1"})
    registry.create_version(facts, NOW)


def test_an_edit_changes_what_it_names_and_is_kept(registry: RegistryStore) -> None:
    edit = VersionEdit("new", {"team": "audio", "kept": "2"}, ("gone", "never"), {"loss": 0.25})
    author = make_author()
    edited = registry.edit_version("resnet", 1, edit, author, None)
    assert edited == registry.get_version("resnet", 1)
    assert edited.facts.description == "new"
    assert edited.facts.tags == {"team": "audio", "kept": "2"}
    assert edited.facts.metrics == {"top1": 0.5, "loss": 0.25}
    changes = {
        "description": {"from": "old", "to": "new"},
        "tags": {"from": {"team": "vision", "gone": "1"}, "to": {"team": "audio", "kept": "2"}},
        "metrics": {"from": {}, "to": {"loss": 0.25}},
    }
    assert edited.revision == 1
    assert list(registry.list_changes("resnet", 1, 100, "").items) == [VersionChange(1, author, changes)]


def test_changes_are_told_oldest_first_with_only_what_changed(registry: RegistryStore) -> None:
    registry.edit_version("resnet", 1, VersionEdit(description="second"), make_author("ann"), None)
    registry.edit_version("resnet", 1, VersionEdit(set_tags={"a": "b"}), make_author("bob"), None)
    told = [
        (change.revision, change.author.user, list(change.changes))
        for change in registry.list_changes("resnet", 1, 100, "").items
    ]
    assert told == [(1, "ann", ["description"]), (2, "bob", ["tags"])]


def test_an_edit_that_changes_nothing_is_none(registry: RegistryStore) -> None:
    before = registry.get_version("resnet", 1)
    edit = VersionEdit("old", {"team": "vision"}, ("never",), {"top1": 0.5})
    assert registry.edit_version("resnet", 1, edit, make_author(), None) == before
    assert list(registry.list_changes("resnet", 1, 100, "").items) == []


def test_what_was_measured_is_never_changed(registry: RegistryStore) -> None:
    before = registry.get_version("resnet", 1)
    with pytest.raises(FailedPreconditionError, match=r"resnet@1 has the metric 'top1' already, with 0\.5"):
        registry.edit_version("resnet", 1, VersionEdit("new", add_metrics={"top1": 0.6}), make_author(), None)
    assert registry.get_version("resnet", 1) == before


def test_a_version_gets_only_so_many_tags(registry: RegistryStore) -> None:
    registry.edit_version("resnet", 1, VersionEdit(set_tags={str(n): "" for n in range(198)}), make_author(), None)
    with pytest.raises(InvalidArgumentError, match="201 tags; 200 is the most"):
        registry.edit_version("resnet", 1, VersionEdit(set_tags={"one": "more"}), make_author(), None)


def test_an_edit_of_what_somebody_else_changed_is_aborted_and_says_who(registry: RegistryStore) -> None:
    registry.edit_version("resnet", 1, VersionEdit("ann's"), make_author("ann", "typo"), 0)
    with pytest.raises(
        AbortedError,
        match=r"resnet@1 is at revision 1, not 0: ann changed its description at 2026-01-02 03:04:05 UTC \(\"typo\"\)",
    ):
        registry.edit_version("resnet", 1, VersionEdit("bob's"), make_author("bob"), 0)
    assert registry.edit_version("resnet", 1, VersionEdit("bob's"), make_author("bob"), 1).revision == 2


def test_of_concurrent_edits_of_one_revision_one_wins(registry: RegistryStore) -> None:
    def edit(user: str) -> str:
        try:
            registry.edit_version("resnet", 1, VersionEdit(f"by {user}"), make_author(user), 0)
        except AbortedError:
            return ""
        return user

    with ThreadPoolExecutor(4) as pool:
        (winner,) = filter(None, pool.map(edit, "abcdefgh"))
    assert registry.get_version("resnet", 1).facts.description == f"by {winner}"
    assert [change.author.user for change in registry.list_changes("resnet", 1, 100, "").items] == [winner]


def test_a_deleted_version_is_out_of_use_until_it_is_restored(registry: RegistryStore) -> None:
    before = registry.get_version("resnet", 1)
    deleted = registry.delete_version("resnet", 1, make_author(after_s=1))
    assert deleted == registry.get_version("resnet", 1)
    assert deleted.deleted_at == NOW + timedelta(seconds=1)
    with pytest.raises(NotFoundError, match=r"resnet@1 was deleted; .*modelyard restore resnet@1"):
        registry.set_alias(make_alias(1))
    with pytest.raises(NotFoundError, match="modelyard restore resnet@1"):
        registry.delete_version("resnet", 1, make_author())
    with pytest.raises(FailedPreconditionError, match="modelyard restore resnet@1"):
        registry.edit_version("resnet", 1, VersionEdit("new"), make_author(), None)
    assert registry.restore_version("resnet", 1, make_author()) == before == registry.get_version("resnet", 1)
    assert registry.set_alias(make_alias(1)).version == 1


def test_a_version_that_an_alias_points_to_is_not_deleted(registry: RegistryStore) -> None:
    registry.set_alias(make_alias(1, name="staging"))
    registry.set_alias(make_alias(1))
    with pytest.raises(
        FailedPreconditionError, match=r"production, staging; .*modelyard alias remove resnet production"
    ):
        registry.delete_version("resnet", 1, make_author())
    assert registry.get_version("resnet", 1).deleted_at is None
    for name in ("production", "staging"):
        registry.delete_alias("resnet", name, make_author())
    assert registry.delete_version("resnet", 1, make_author()).deleted_at is not None


def test_no_alias_ever_points_to_what_is_deleted_at_the_same_time(registry: RegistryStore) -> None:
    def attempt(act: Callable[[], object]) -> bool:
        try:
            act()
        except (NotFoundError, FailedPreconditionError):
            return False
        return True

    for number in range(2, 10):
        registry.create_version(make_draft(content=str(number)), NOW)
        acts = [
            partial(registry.delete_version, "resnet", number, make_author()),
            partial(registry.set_alias, make_alias(number, name=f"alias-{number}")),
        ]
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(attempt, acts)) == [False, True]


def test_only_what_is_deleted_is_restored_or_purged(registry: RegistryStore) -> None:
    with pytest.raises(FailedPreconditionError, match="resnet@1 is not deleted, so use it as it is"):
        registry.restore_version("resnet", 1, make_author())
    with pytest.raises(FailedPreconditionError, match="modelyard delete resnet@1"):
        registry.purge_version("resnet", 1, make_author())
    for refused in (registry.delete_version, registry.restore_version, registry.purge_version):
        with pytest.raises(NotFoundError, match="no version 2"):
            refused("resnet", 2, make_author())


def test_what_is_purged_keeps_its_record_and_does_not_come_back(registry: RegistryStore) -> None:
    registry.delete_version("resnet", 1, make_author())
    purged = registry.purge_version("resnet", 1, make_author(after_s=5))
    assert purged == registry.get_version("resnet", 1)
    assert purged.purged_at == NOW + timedelta(seconds=5)
    with pytest.raises(FailedPreconditionError, match=r"its files are gone; .*modelyard register resnet FILE"):
        registry.restore_version("resnet", 1, make_author())
    with pytest.raises(FailedPreconditionError, match="resnet@1 was purged already"):
        registry.purge_version("resnet", 1, make_author())
    with pytest.raises(NotFoundError, match="its files are gone"):
        registry.set_alias(make_alias(1))


def test_what_was_deleted_later_is_not_purged(registry: RegistryStore) -> None:
    deleted_at = NOW + timedelta(seconds=3)
    registry.delete_version("resnet", 1, make_author(after_s=3))
    with pytest.raises(FailedPreconditionError, match=r"resnet@1 was deleted at 2026-01-02 03:04 only; wait"):
        registry.purge_version("resnet", 1, make_author(), deleted_at - timedelta(seconds=1))
    assert registry.get_version("resnet", 1).purged_at is None
    assert registry.purge_version("resnet", 1, make_author(), deleted_at).purged_at is not None


def test_what_may_be_purged_was_deleted_by_then(registry: RegistryStore) -> None:
    for content in "bcd":
        registry.create_version(make_draft(content=content), NOW)
    for number in (1, 2, 3):
        registry.delete_version("resnet", number, make_author(after_s=number))
    registry.purge_version("resnet", 1, make_author())
    assert [version.number for version in registry.list_purgeable(NOW + timedelta(seconds=2), 100)] == [2]
    assert [version.number for version in registry.list_purgeable(NOW + timedelta(days=1), 100)] == [2, 3]


def test_what_may_be_purged_is_told_in_batches(registry: RegistryStore) -> None:
    for model, content in (("a", "b"), ("b", "c"), ("b", "d")):
        registry.create_version(make_draft(model, content), NOW)
    for name in (("resnet", 1), ("a", 1), ("b", 1), ("b", 2)):
        registry.delete_version(*name, make_author())
    found: list[VersionName] = []
    while batch := registry.list_purgeable(NOW, 2, found[-1] if found else None):
        assert len(batch) == 2
        found += [VersionName(version.model, version.number) for version in batch]
    assert found == [("a", 1), ("b", 1), ("b", 2), ("resnet", 1)]


def test_a_file_that_only_versions_have_which_were_deleted_by_then_is_told_apart(registry: RegistryStore) -> None:
    sample = Sample(make_sha256("sample"), 6, is_made=False)
    registry.create_version(make_draft("other", "a", sample=sample), NOW)
    registry.delete_version("resnet", 1, make_author(after_s=1))
    by_then = NOW + timedelta(seconds=2)
    assert registry.is_needed(make_sha256("a"), deleted_before=by_then), "other@1 is not deleted"
    registry.delete_version("other", 1, make_author(after_s=2))
    for content in ("a", "sample"):
        assert registry.is_needed(make_sha256(content))
        assert registry.is_needed(make_sha256(content), deleted_before=NOW + timedelta(seconds=1))
        assert not registry.is_needed(make_sha256(content), deleted_before=by_then)


def test_a_file_is_needed_while_a_version_has_it(registry: RegistryStore) -> None:
    sample = Sample(make_sha256("sample"), 6, is_made=False)
    registry.create_version(make_draft("other", "a"), NOW)
    registry.create_version(make_draft("other", "b", sample=sample), NOW)
    assert registry.is_needed(sample.sha256)
    assert registry.is_needed(make_sha256("a"), [VersionName("resnet", 1)])
    assert not registry.is_needed(make_sha256("a"), [VersionName("resnet", 1), VersionName("other", 1)])
    assert not registry.is_needed(sample.sha256, [VersionName("other", 2)])
    assert not registry.is_needed(make_sha256("nobody's"))
    assert registry.is_needed(make_sha256("a"), [VersionName("resnet", 1)])
    assert not registry.is_needed(make_sha256("a"), [VersionName("resnet", 1), VersionName("other", 1)])
    assert not registry.is_needed(sample.sha256, [VersionName("other", 2)])
    for model, number in (("resnet", 1), ("other", 1), ("other", 2)):
        registry.delete_version(model, number, make_author())
    registry.purge_version("resnet", 1, make_author())
    assert registry.is_needed(make_sha256("a")), "another model has the same bytes"
    registry.purge_version("other", 1, make_author())
    assert not registry.is_needed(make_sha256("a"))
    registry.purge_version("other", 2, make_author())
    assert not registry.is_needed(sample.sha256)
