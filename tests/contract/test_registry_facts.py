"""What every RegistryStore tells the lineage store of."""

import pytest

from controlplane.domain import Author, Fact, FactKind, VersionEdit
from controlplane.registry.store import RegistryStore
from modelyard.errors import YardError
from modelyard.resource_names import VersionName
from tests.harness.records import NOW, make_alias, make_author, make_draft


def read_facts(registry: RegistryStore) -> list[Fact]:
    return list(registry.list_facts(False, 0, 1000))


def test_all_that_happens_to_a_version_is_told_once_and_in_order(registry: RegistryStore) -> None:
    registry.create_version(make_draft(user="eve"), NOW)
    changed = registry.edit_version("resnet", 1, VersionEdit("new"), make_author("ann"), None)
    registry.set_alias(make_alias(1, after_s=1))
    registry.delete_alias("resnet", "production", make_author("bob", after_s=2))
    registry.delete_version("resnet", 1, make_author("c"))
    registry.restore_version("resnet", 1, make_author("d"))
    registry.delete_version("resnet", 1, make_author("e"))
    registry.purge_version("resnet", 1, make_author("f"))

    facts = read_facts(registry)
    assert [fact.number for fact in facts] == sorted({fact.number for fact in facts})
    assert {(fact.model, fact.version) for fact in facts} == {("resnet", 1)}
    change = registry.list_changes("resnet", 1, 100, "").items[0]
    assert [(fact.kind, fact.author, fact.alias, fact.details) for fact in facts] == [
        (FactKind.REGISTERED, Author(NOW, "eve"), "", {}),
        (FactKind.CHANGED, make_author("ann"), "", {"revision": changed.revision, "changes": change.changes}),
        (
            FactKind.ALIASED,
            make_author("ann", "better", after_s=1),
            "production",
            {"kind": "set", "from_version": None},
        ),
        (FactKind.ALIASED, make_author("bob", after_s=2), "production", {"kind": "remove", "from_version": 1}),
        (FactKind.DELETED, make_author("c"), "", {}),
        (FactKind.RESTORED, make_author("d"), "", {}),
        (FactKind.DELETED, make_author("e"), "", {}),
        (FactKind.PURGED, make_author("f"), "", {}),
    ]


def test_a_move_is_told_of_the_version_that_it_leads_to(registry: RegistryStore) -> None:
    for content in "ab":
        registry.create_version(make_draft(content=content), NOW)
    for number in (1, 2):
        registry.set_alias(make_alias(number))
    registry.roll_back_alias("resnet", "production", make_author())
    told = [(fact.version, fact.details) for fact in read_facts(registry) if fact.kind is FactKind.ALIASED]
    assert told == [
        (1, {"kind": "set", "from_version": None}),
        (2, {"kind": "set", "from_version": 1}),
        (1, {"kind": "rollback", "from_version": 2}),
    ]


def test_what_is_refused_or_changes_nothing_is_not_told(registry: RegistryStore) -> None:
    registry.create_version(make_draft(), NOW)
    registry.set_alias(make_alias(1))
    before = read_facts(registry)
    registry.set_alias(make_alias(1))
    registry.edit_version("resnet", 1, VersionEdit(""), make_author(), None)
    for refused in (
        lambda: registry.create_version(make_draft(), NOW),
        lambda: registry.set_alias(make_alias(2)),
        lambda: registry.delete_version("resnet", 1, make_author()),
        lambda: registry.restore_version("resnet", 1, make_author()),
        lambda: registry.roll_back_alias("resnet", "production", make_author()),
        lambda: registry.edit_version("resnet", 1, VersionEdit("new"), make_author(), 7),
    ):
        with pytest.raises(YardError):
            refused()
    assert read_facts(registry) == before


def test_facts_stay_unrecorded_until_they_are_marked(registry: RegistryStore) -> None:
    for model, content in (("resnet", "a"), ("resnet", "b"), ("bert", "a")):
        registry.create_version(make_draft(model, content), NOW)
    registry.set_alias(make_alias(2))
    first, second, third, fourth = (fact.number for fact in read_facts(registry))

    def listed(recorded: bool, after: int = 0, limit: int = 10, *, newest_first: bool = False) -> list[int]:
        return [fact.number for fact in registry.list_facts(recorded, after, limit, newest_first)]

    assert listed(False, limit=2) == [first, second]
    assert listed(False, after=second) == [third, fourth]
    assert listed(False, newest_first=True, limit=3) == [fourth, third, second]
    assert listed(False, after=third, newest_first=True) == [second, first]
    assert (registry.count_unrecorded("resnet", 2), registry.count_unrecorded("bert", 1)) == (2, 1)
    for _ in range(2):
        registry.mark_recorded([second, third], True)
    assert (listed(False), listed(True)) == ([first, fourth], [second, third])
    assert (registry.count_unrecorded("resnet", 2), registry.count_unrecorded("bert", 1)) == (1, 0)
    registry.mark_recorded([third], False)
    registry.mark_recorded([], False)
    assert listed(True) == [second]


def test_the_versions_of_facts_are_read_at_once(registry: RegistryStore) -> None:
    for content in "abc":
        registry.create_version(make_draft(content=content), NOW)
    registry.create_version(make_draft("bert"), NOW)
    registry.delete_version("resnet", 2, make_author())
    registry.purge_version("resnet", 2, make_author())
    names = [VersionName("resnet", 2), VersionName("resnet", 3), VersionName("bert", 1), VersionName("bert", 3)]
    found = registry.get_versions(names)
    assert found == {name: registry.get_version(*name) for name in names[:3]}
    assert registry.get_versions([]) == {}
