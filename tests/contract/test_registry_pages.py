"""Lists of what is large: each page fits into a message, and together they have everything."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain import VersionEdit
from controlplane.registry.filter_language import parse_order
from controlplane.registry.page_bytes import PAGE_BYTES, count_bytes
from controlplane.registry.store import Page, RegistryStore
from controlplane.registry.version_query import VersionQuery
from modelyard.errors import InvalidArgumentError
from modelyard.resource_names import VersionName
from tests.harness.records import NOW, make_alias, make_author, make_draft

# As large as they may be, and then some, so that few of them make a page.
LARGE = {str(key): "x" * 10_000 for key in range(100)}


def read_pages(load: Callable[[str], Page[Any]]) -> list[Sequence[Any]]:
    pages, token = [], ""
    while True:
        page = load(token)
        pages.append(page.items)
        token = page.next_token
        if not token:
            return pages


def register_large(registry: RegistryStore, count: int) -> None:
    for number in range(count):
        registry.create_version(make_draft(content=str(number), tags={**LARGE, "n": str(number % 3)}), NOW)


@pytest.mark.parametrize("order", ["", "created", "tags.n desc"])
def test_a_page_of_large_versions_ends_early(registry: RegistryStore, order: str) -> None:
    register_large(registry, 7)
    query = VersionQuery("resnet", None, parse_order(order), False)
    pages = read_pages(lambda token: registry.list_versions(query, 100, token))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert all(count_bytes(page) <= PAGE_BYTES for page in pages)
    assert sorted(version.number for page in pages for version in page) == list(range(1, 8))


def test_a_version_that_is_larger_than_a_page_is_one(registry: RegistryStore) -> None:
    for number in range(2):
        registry.create_version(make_draft(content=str(number), description="x" * (PAGE_BYTES + 1)), NOW)
    pages = read_pages(lambda token: registry.list_versions(VersionQuery("resnet", None, None, False), 100, token))
    assert [[version.number for version in page] for page in pages] == [[2], [1]]


def test_changes_come_in_pages(registry: RegistryStore) -> None:
    registry.create_version(make_draft(), NOW)
    for number in range(5):
        registry.edit_version("resnet", 1, VersionEdit(str(number)), make_author(), None)
    pages = read_pages(lambda token: registry.list_changes("resnet", 1, 2, token))
    assert [[change.revision for change in page] for page in pages] == [[1, 2], [3, 4], [5]]


def test_a_page_of_large_changes_ends_early(registry: RegistryStore) -> None:
    registry.create_version(make_draft(), NOW)
    for number in range(4):
        tags = {key: f"{number}{text}" for key, text in LARGE.items()}
        registry.edit_version("resnet", 1, VersionEdit(set_tags=tags), make_author(), None)
    pages = read_pages(lambda token: registry.list_changes("resnet", 1, 100, token))
    assert [[change.revision for change in page] for page in pages] == [[1, 2], [3], [4]]


def test_a_token_of_the_changes_of_another_version_is_refused(registry: RegistryStore) -> None:
    for content in "ab":
        registry.create_version(make_draft(content=content), NOW)
    for description in "xy":
        registry.edit_version("resnet", 1, VersionEdit(description), make_author(), None)
    token = registry.list_changes("resnet", 1, 1, "").next_token
    assert registry.list_changes("resnet", 1, 1, token).items[0].revision == 2
    with pytest.raises(InvalidArgumentError, match="page token"):
        registry.list_changes("resnet", 2, 1, token)


def test_a_page_of_moves_with_long_reasons_ends_early(registry: RegistryStore) -> None:
    for content in "ab":
        registry.create_version(make_draft(content=content), NOW)
    for number in range(4):
        registry.set_alias(replace(make_alias(1 + number % 2), reason="x" * 1_400_000))
    pages = read_pages(lambda token: registry.list_moves("resnet", "", 100, token))
    assert [[move.to_version for move in page] for page in pages] == [[2, 1], [2, 1]]


def test_a_page_of_models_with_long_reasons_ends_early(registry: RegistryStore) -> None:
    for model in ("a", "b", "c", "d", "plain"):
        registry.create_version(make_draft(model), NOW)
    for model, name in (("a", "x"), ("a", "y"), ("b", "x"), ("d", "x")):
        registry.set_alias(replace(make_alias(1, model, name), reason="x" * 1_400_000))
    pages = read_pages(lambda token: registry.list_models(100, token))
    assert [[(model.name, len(model.aliases)) for model in page] for page in pages] == [
        [("a", 2)],
        [("b", 1), ("c", 0), ("d", 1), ("plain", 0)],
    ]
    assert [model for page in pages for model in page] == [registry.get_model(name) for name in (*"abcd", "plain")]


def test_batches_of_what_is_large_are_small(registry: RegistryStore) -> None:
    register_large(registry, 4)
    for number in range(1, 5):
        registry.delete_version("resnet", number, make_author())
    first = registry.list_purgeable(NOW, 100)
    assert [version.number for version in first] == [1, 2, 3]
    assert [version.number for version in registry.list_purgeable(NOW, 100, VersionName("resnet", 3))] == [4]


def test_facts_of_what_is_large_are_read_to_their_end(registry: RegistryStore) -> None:
    registry.create_version(make_draft(), NOW)
    for number in range(4):
        tags = {key: f"{number}{text}" for key, text in LARGE.items()}
        registry.edit_version("resnet", 1, VersionEdit(set_tags=tags), make_author(), None)
    numbers: list[int] = []
    while page := registry.list_facts(False, numbers[-1] if numbers else 0, 100):
        assert count_bytes(page) <= PAGE_BYTES
        numbers += [fact.number for fact in page]
    assert len(numbers) == 5
