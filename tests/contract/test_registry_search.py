"""What every registry finds, in which order, page by page."""

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from controlplane.domain import ModelFormat, Version, VersionEdit
from controlplane.registry.filter_language import parse_filter, parse_order
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.store import RegistryStore
from controlplane.registry.version_query import VersionQuery
from modelyard.errors import InvalidArgumentError, NotFoundError
from tests.harness.records import NOW, make_alias, make_author, make_draft

# As long as what an index has of a text.
LONG = "q" * 100
EXAMPLE = 'metrics.accuracy > 0.9 and tags.team = "vision" and format = onnx'


def ask(filter_: str = "", order: str = "", model: str = "", show_deleted: bool = False) -> VersionQuery:
    return VersionQuery(model, parse_filter(filter_), parse_order(order), show_deleted)


def find(registry: RegistryStore, filter_: str = "", order: str = "", page_size: int = 2, **more: object) -> list[str]:
    """Model-ids, by way of as many pages as there are."""
    return [v.model_id for v in read_all(registry, ask(filter_, order, **more), page_size)]  # type: ignore[arg-type]


def read_all(registry: RegistryStore, query: VersionQuery, page_size: int = 2) -> Sequence[Version]:
    found: list[Version] = []
    token = ""
    while True:
        page = registry.list_versions(query, page_size, token)
        found += page.items
        token = page.next_token
        if not token:
            return found
        assert len(page.items) == page_size


@pytest.fixture
def full(registry: RegistryStore) -> RegistryStore:
    """a@1 to a@3, B@1, c@1: each made an hour after the one before."""
    drafts = [
        make_draft(
            "a",
            "1",
            metrics={"accuracy": 0.95, "loss": 1.5},
            tags={"team": "vision", "day": "9", "long": f"{LONG}a"},
            user="ann",
        ),
        make_draft(
            "a", "2", metrics={"accuracy": 0.91}, tags={"team": "speech", "day": "10", "long": f"{LONG}b"}, user="bo"
        ),
        make_draft("a", "3", metrics={"accuracy": 0.85}, tags={"team": "Vision 2"}, parameters={"lr": "1e-3"}),
        replace(
            make_draft("B", "4", metrics={"accuracy": 0.99}, tags={"team": "vision"}), format=ModelFormat.SAVEDMODEL
        ),
        make_draft("c", "5", description="straße ÄÖ 100%", tags={"day": "monday", "team": "zoë"}),
    ]
    for index, draft in enumerate(drafts):
        registry.create_version(draft, NOW + timedelta(hours=index))
    registry.set_alias(make_alias(1, "a", "production"))
    registry.set_alias(make_alias(1, "a", "eu"))
    registry.set_alias(make_alias(2, "a", "staging"))
    return registry


FOUND = [
    (EXAMPLE, ["a@1"]),
    ('metrics.accuracy >= 0.91 AND NOT tags.team = "vision"', ["a@2"]),
    ("metrics.accuracy < 1", ["B@1", "a@3", "a@2", "a@1"]),
    ("not metrics.accuracy < 1", ["c@1"]),
    ("metrics.accuracy != 0.95", ["B@1", "a@3", "a@2"]),
    ("format = savedmodel or user = bo", ["B@1", "a@2"]),
    ("alias = production", ["a@1"]),
    ("alias != production", ["a@2"]),
    ("alias ~ ST", ["a@2"]),
    ("not alias ~ t", ["B@1", "a@3", "c@1"]),
    ("tags.team ~ VISION", ["B@1", "a@3", "a@1"]),
    ("tags.team ~ Ë", []),
    ("tags.team ~ ë", ["c@1"]),
    ("description ~ 'SSE'", []),
    ("description ~ 'ße äö'", []),
    ("description ~ '0%'", ["c@1"]),
    ("description ~ '_'", []),
    ("tags.day > 9", ["a@2"]),
    ("tags.day = 9.0", ["a@1"]),
    ('tags.day = "9.0"', []),
    ("tags.day != 9", ["a@2", "c@1"]),
    (f"tags.long = {LONG}a", ["a@1"]),
    (f"tags.long = {LONG}", []),
    (f"tags.long != {LONG}", ["a@2", "a@1"]),
    ("params.lr <= 0.001", ["a@3"]),
    ("number > 1.5 and number < 2.5", ["a@2"]),
    ("size_bytes < 1.5", ["B@1", "a@3", "a@2", "a@1", "c@1"]),
    ("user = ''", ["B@1", "a@3", "c@1"]),
    ("name = a and created > 2026-01-02T04:04:06Z", ["a@3"]),
    ("created = 2026-01-02 and name != a", ["B@1", "c@1"]),
    ("time <= 2026-01-01", []),
]


def test_a_filter_finds_what_it_says(full: RegistryStore) -> None:
    assert [(filter_, find(full, filter_)) for filter_, _ in FOUND] == FOUND


ORDERED = [
    ("", ["B@1", "a@3", "a@2", "a@1", "c@1"]),
    ("name desc", ["c@1", "a@3", "a@2", "a@1", "B@1"]),
    ("metrics.accuracy", ["a@3", "a@2", "a@1", "B@1", "c@1"]),
    ("metrics.accuracy desc", ["B@1", "a@1", "a@2", "a@3", "c@1"]),
    ("tags.day", ["a@1", "a@2", "c@1", "B@1", "a@3"]),
    ("tags.day desc", ["a@2", "a@1", "c@1", "B@1", "a@3"]),
    ("tags.team", ["a@3", "a@2", "B@1", "a@1", "c@1"]),
    ("created", ["a@1", "a@2", "a@3", "B@1", "c@1"]),
    ("number desc", ["a@3", "a@2", "B@1", "a@1", "c@1"]),
    ("user desc", ["a@2", "a@1", "B@1", "a@3", "c@1"]),
]


@pytest.mark.parametrize("page_size", [1, 2, 5])
def test_an_order_holds_over_the_pages(full: RegistryStore, page_size: int) -> None:
    assert [(order, find(full, order=order, page_size=page_size)) for order, _ in ORDERED] == ORDERED


def test_one_model_is_searched_alone(full: RegistryStore) -> None:
    assert find(full, model="a") == ["a@3", "a@2", "a@1"]
    assert find(full, "metrics.accuracy > 0.9", "metrics.accuracy", model="a") == ["a@2", "a@1"]
    with pytest.raises(NotFoundError):
        find(full, model="nobody")


def test_what_is_deleted_is_found_only_on_demand(full: RegistryStore) -> None:
    full.delete_version("a", 3, make_author())
    assert find(full, "name = a") == ["a@2", "a@1"]
    assert find(full, "name = a", show_deleted=True) == ["a@3", "a@2", "a@1"]


def test_a_change_is_found_at_once(full: RegistryStore) -> None:
    edit = VersionEdit(set_tags={"team": "audio"}, remove_tags=("day",), add_metrics={"f1": 0.5})
    full.edit_version("a", 1, edit, make_author(), None)
    assert find(full, "tags.team = audio and metrics.f1 = 0.5") == ["a@1"]
    assert find(full, "tags.day = 9") == []


REFUSED = [
    ("metrics.acuracy > 0.9", "", "metric 'acuracy'.*did you mean accuracy"),
    ("name = a or not tags.colour = red", "", "tag 'colour'.*there are day, long, team"),
    ("", "params.LR", "parameter 'LR'.*did you mean lr"),
    ("tags.accuracy > 0.9", "", "tag 'accuracy'"),
]


def test_a_key_that_no_version_has_is_an_error(full: RegistryStore) -> None:
    for filter_, order, message in REFUSED:
        with pytest.raises(InvalidArgumentError, match=message):
            find(full, filter_, order)


def test_a_key_is_an_error_where_there_is_nothing_at_all(registry: RegistryStore) -> None:
    with pytest.raises(InvalidArgumentError, match="none has any metric yet"):
        find(registry, "metrics.accuracy > 0.9")
    assert find(registry) == []


def test_a_token_is_of_its_query_only(full: RegistryStore) -> None:
    for order in ("", "metrics.accuracy desc", "tags.day", "created", "user", "size_bytes desc"):
        token = full.list_versions(ask(order=order), 2, "").next_token
        assert full.list_versions(ask(order=order), 2, token).items
        for other in (ask("name = a", order), ask(order=order, model="a"), ask(order=order, show_deleted=True)):
            with pytest.raises(InvalidArgumentError, match="page token"):
                full.list_versions(other, 2, token)


@pytest.mark.parametrize("order", ["", "metrics.accuracy", "tags.day", "created", "user", "size_bytes"])
def test_a_forged_token_is_refused(full: RegistryStore, order: str) -> None:
    forgeries: list[object] = [None, [], [0], {}, True, "a", -1, 2**70]
    keys: list[object] = [True, "a\0", "\ud800", 1e400, float("nan"), {}, 2**70]
    if order == "created":  # moments that no database and no calendar has
        keys += ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"]
    for key in keys:
        forgeries += [[0, key, "a", 1], [0, 0.5, "a\0", 1], [0, None, "a", 0], [9, None, "a", 1], [-1, None, "a", 1]]
    query = ask(order=order)
    listing, _ = json.loads(base64.urlsafe_b64decode(full.list_versions(query, 2, "").next_token))
    for forged in forgeries:
        token = base64.urlsafe_b64encode(json.dumps([listing, forged]).encode()).decode()
        with pytest.raises(InvalidArgumentError, match="page token"):
            full.list_versions(query, 2, token)


@pytest.mark.parametrize("order", ["", "metrics.accuracy desc", "created"])
def test_what_is_registered_between_two_pages_moves_nothing(database: Database, order: str) -> None:
    registry = SqlRegistryStore(database)
    for index in range(6):
        registry.create_version(make_draft("m", str(index), metrics={"accuracy": index / 10}), NOW)
    query, old = ask(order=order), {f"m@{number}" for number in range(1, 7)}
    seen: list[str] = []
    token = ""
    for index in range(100):
        page = registry.list_versions(query, 2, token)
        seen += [version.model_id for version in page.items]
        token = page.next_token
        if not token:
            break
        registry.create_version(make_draft("l", f"new {index}", metrics={"accuracy": 0.95}), NOW - timedelta(days=1))
    assert sorted(id_ for id_ in seen if id_ in old) == sorted(old)
    assert len(seen) == len(set(seen))
