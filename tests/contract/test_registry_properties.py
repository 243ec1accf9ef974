"""Whatever is done to a registry in whatever order, its records stay true: random sequences against each store."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from controlplane.domain import Alias, AliasMove, Author, Fact, FactKind, MoveKind, Version, VersionEdit
from controlplane.policy.alias_history import compute_rollback_target
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore
from controlplane.registry.sql.schema import version_values
from controlplane.registry.store import RegistryStore
from controlplane.registry.version_query import VersionQuery, parse_number
from modelyard.errors import AbortedError, AlreadyExistsError, FailedPreconditionError, NotFoundError
from tests.contract.conftest import make_url
from tests.harness.memory_registry import MemoryRegistry
from tests.harness.records import make_author, make_draft, make_sha256

REFUSALS = (AbortedError, AlreadyExistsError, FailedPreconditionError, NotFoundError)
ALIASES = st.sampled_from(["production", "staging"])
NUMBERS = st.sampled_from([1, 2, 3, 1, 2, 3, 9])
CONTENTS = st.sampled_from("abcd")
# None: no precondition, as in most moves; else what the caller saw.
EXPECTED = st.sampled_from([None, None, None, 0, 1, 2])
TEXTS = st.sampled_from(["", "1e-3", "42", "inf", "ß" * 150])
KEYS = st.sampled_from(["top1", "team"])
# Models of all examples share a database, so each has one of its own.
unused_numbers = itertools.count()


class RegistryMachine(RuleBasedStateMachine):
    """One model: what was done with success is kept beside the store, and compared with it after every step."""

    def __init__(self, registry: RegistryStore, read_values: Callable[[str], set[Any]] | None) -> None:
        super().__init__()
        self.registry = registry
        self.read_values = read_values
        self.model = f"model-{next(unused_numbers)}"
        self.clock = itertools.count()
        self.before = max((fact.number for fact in self._list_facts(0)), default=0)
        self.told: list[tuple[FactKind, int, str, Author]] = []
        self.moves: list[AliasMove] = []
        self.versions: dict[int, Version] = {}
        self.first_tags: dict[int, Mapping[str, str]] = {}

    def _list_facts(self, after: int) -> list[Fact]:
        unrecorded = self.registry.list_facts(False, after, 100_000)
        return sorted([*unrecorded, *self.registry.list_facts(True, after, 100_000)], key=lambda fact: fact.number)

    def _author(self) -> Author:
        return make_author(after_s=next(self.clock))

    def _sha256(self, content: str) -> str:
        return make_sha256(f"{self.model}/{content}")

    def _present(self, alias: str) -> int:
        """0: there is none."""
        moves = self._moves_of(alias)
        return (moves[-1].to_version or 0) if moves else 0

    def _moves_of(self, alias: str) -> list[AliasMove]:
        return [move for move in self.moves if move.alias == alias]

    def _attempt(self, act: Callable[[], Any], *, may: bool) -> Any:
        """What `act` returns; None where it is refused, as it must be exactly where it may not succeed."""
        try:
            done = act()
        except REFUSALS:
            assert not may, "refused for no reason"
            return None
        assert may, "done though it must be refused"
        return done

    def _is_usable(self, number: int) -> bool:
        return number in self.versions and self.versions[number].deleted_at is None

    def _tell(self, kind: FactKind, number: int, author: Author, alias: str = "") -> None:
        self.told.append((kind, number, alias, author))

    @initialize()
    def register_the_first(self) -> None:
        for content in "abc":
            self.register(content, "first")

    @rule(content=CONTENTS, text=TEXTS)
    def register(self, content: str, text: str) -> None:
        author = self._author()
        kept = {v.facts.sha256 for v in self.versions.values() if v.purged_at is None}
        facts = make_draft(
            self.model, f"{self.model}/{content}", user=author.user, metrics={"loss": 0.5}, tags={"t": text}
        )
        made = self._attempt(
            lambda: self.registry.create_version(facts, author.at), may=self._sha256(content) not in kept
        )
        if made is not None:
            assert made.number == len(self.versions) + 1
            self.versions[made.number] = made
            self.first_tags[made.number] = made.facts.tags
            self._tell(FactKind.REGISTERED, made.number, Author(author.at, author.user))

    @rule(alias=ALIASES, numbers=st.lists(NUMBERS, min_size=1, max_size=3), expected=EXPECTED)
    def set_alias(self, alias: str, numbers: list[int], expected: int | None) -> None:
        for number in numbers:
            self._set_alias(alias, number, expected)

    def _set_alias(self, alias: str, number: int, expected: int | None) -> None:
        author, current = self._author(), self._present(alias)
        wanted = Alias(self.model, alias, number, author.at, author.user, author.reason)
        may = self._is_usable(number) and expected in (None, current)
        if self._attempt(lambda: self.registry.set_alias(wanted, expected), may=may) and current != number:
            self._keep(AliasMove(self.model, alias, MoveKind.SET, current or None, number, author))

    @rule(alias=ALIASES, expected=EXPECTED, times=st.integers(1, 3))
    def roll_back(self, alias: str, expected: int | None, times: int) -> None:
        for _ in range(times):
            self._roll_back(alias, expected)

    def _roll_back(self, alias: str, expected: int | None) -> None:
        author, current = self._author(), self._present(alias)
        target = compute_rollback_target(self._moves_of(alias))
        may = expected in (None, current) and target is not None and self._is_usable(target)
        move = self._attempt(lambda: self.registry.roll_back_alias(self.model, alias, author, expected), may=may)
        if move is not None:
            assert move == AliasMove(self.model, alias, MoveKind.ROLLBACK, current or None, target, author)
            assert target != current
            self._keep(move)

    @rule(alias=ALIASES, expected=EXPECTED)
    def remove_alias(self, alias: str, expected: int | None) -> None:
        author, current = self._author(), self._present(alias)
        may = bool(current) and expected in (None, current)
        self._attempt(partial(self.registry.delete_alias, self.model, alias, author, expected), may=may)
        if may:
            self._keep(AliasMove(self.model, alias, MoveKind.REMOVE, current, None, author))

    def _keep(self, move: AliasMove) -> None:
        self.moves.append(move)
        number = move.to_version or move.from_version
        assert number is not None
        self._tell(FactKind.ALIASED, number, move.author, move.alias)

    @rule(number=NUMBERS)
    def delete(self, number: int) -> None:
        author = self._author()
        may = self._is_usable(number) and number not in map(self._present, ("production", "staging"))
        self._end(FactKind.DELETED, number, author, self.registry.delete_version, may)

    @precondition(lambda self: any(map(self._is_only_deleted, self.versions)))
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        number = self._draw_deleted(data)
        may = self._is_only_deleted(number)
        self._end(FactKind.RESTORED, number, self._author(), self.registry.restore_version, may)

    @precondition(lambda self: any(map(self._is_only_deleted, self.versions)))
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        number = self._draw_deleted(data)
        may = self._is_only_deleted(number)
        self._end(FactKind.PURGED, number, self._author(), self.registry.purge_version, may)

    def _draw_deleted(self, data: st.DataObject) -> int:
        """Or one that is not, or not there."""
        return data.draw(st.sampled_from(list(filter(self._is_only_deleted, self.versions))) | NUMBERS)

    def _is_only_deleted(self, number: int) -> bool:
        return number in self.versions and not self._is_usable(number) and self.versions[number].purged_at is None

    def _end(self, kind: FactKind, number: int, author: Author, act: Callable[..., Version], may: bool) -> None:
        after = self._attempt(lambda: act(self.model, number, author), may=may)
        if after is not None:
            self.versions[number] = after
            self._tell(kind, number, author)

    @rule(number=NUMBERS, text=TEXTS, key=KEYS, metric=st.floats(0, 1), expected=EXPECTED)
    def edit(self, number: int, text: str, key: str, metric: float, expected: int | None) -> None:
        author, before = self._author(), self.versions.get(number)
        edit = VersionEdit(set_tags={key: text}, remove_tags=("t",), add_metrics={key: metric})
        is_measured = before is not None and before.facts.metrics.get(key, metric) != metric
        may = before is not None and self._is_usable(number) and not is_measured
        may = may and before is not None and expected in (None, before.revision)
        after = self._attempt(lambda: self.registry.edit_version(self.model, number, edit, author, expected), may=may)
        if after is not None and after != before:
            assert before is not None and after.revision == before.revision + 1
            self.versions[number] = after
            self._tell(FactKind.CHANGED, number, author)

    @precondition(lambda self: self.told)
    @rule(count=st.integers(1, 3), recorded=st.booleans())
    def mark(self, count: int, recorded: bool) -> None:
        numbers = [fact.number for fact in self._list_facts(self.before)[:count]]
        self.registry.mark_recorded(numbers, recorded)
        listed = {fact.number for fact in self.registry.list_facts(recorded, self.before, 100_000)}
        assert set(numbers) <= listed

    @invariant()
    def each_version_is_as_it_was_left(self) -> None:
        query = VersionQuery(model=self.model, show_deleted=True)
        if self.versions:
            listed = self.registry.list_versions(query, 100, "").items
            assert {version.number: version for version in listed} == self.versions
            assert self.registry.get_model(self.model).latest_version == len(self.versions)

    @invariant()
    def the_history_is_complete_and_leads_to_the_present(self) -> None:
        if not self.versions:
            return
        assert list(self.registry.list_moves(self.model, "", 1000, "").items) == self.moves[::-1]
        present = {alias.name: alias.version for alias in self.registry.get_model(self.model).aliases}
        led_to = {alias: self._present(alias) for alias in ("production", "staging")}
        assert present == {alias: number for alias, number in led_to.items() if number}
        assert all(self._is_usable(number) for number in present.values()), "an alias points to a deleted version"

    @invariant()
    def all_is_told_once_and_in_order(self) -> None:
        told = [(f.kind, f.version, f.alias, f.author) for f in self._list_facts(self.before) if f.model == self.model]
        assert told == self.told

    @invariant()
    def what_is_deleted_is_out_of_sight(self) -> None:
        if self.versions:
            listed = self.registry.list_versions(VersionQuery(model=self.model), 100, "").items
            assert [v.number for v in listed] == [n for n in sorted(self.versions, reverse=True) if self._is_usable(n)]
        for content in "abcd":
            sha256 = self._sha256(content)
            kept = any(v.facts.sha256 == sha256 and v.purged_at is None for v in self.versions.values())
            assert self.registry.is_needed(sha256) == kept

    @invariant()
    def versions_are_searched_by_what_they_hold(self) -> None:
        if self.read_values is not None:
            expected = {value for version in self.versions.values() for value in _list_values(version)}
            assert self.read_values(self.model) == expected

    @invariant()
    def changes_lead_from_the_first_to_the_present(self) -> None:
        for number, version in self.versions.items():
            tags = dict(self.first_tags[number])
            changes = self.registry.list_changes(self.model, number, 1000, "").items
            for revision, change in enumerate(changes, 1):
                assert change.revision == revision
                moved = change.changes.get("tags", {"from": {}, "to": {}})
                tags = {key: text for key, text in tags.items() if key not in moved["from"]} | moved["to"]
            assert tags == version.facts.tags
            assert version.revision == len(changes)


def _list_values(version: Version) -> Iterator[tuple[Any, ...]]:
    for key, number in version.facts.metrics.items():
        yield version.number, "metric", key, None, None, number
    for key, text in version.facts.tags.items():
        yield version.number, "tag", key, text, text[:100], parse_number(text)


def make_reader(database: Database) -> Callable[[str], set[Any]]:
    columns = [
        version_values.c[name] for name in ("number", "kind", "key", "text_value", "text_prefix", "number_value")
    ]

    def read(model: str) -> set[Any]:
        with database.reading() as connection:
            return {
                tuple(row) for row in connection.execute(sa.select(*columns).where(version_values.c.model == model))
            }

    return read


EXAMPLES = {"memory": 100, "sqlite": 12, "postgresql": 6}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_records_stay_true_whatever_is_done(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with _open(kind, request, tmp_path) as (registry, read_values):
        run_state_machine_as_test(
            lambda: RegistryMachine(registry, read_values),  # type: ignore[arg-type]  # any factory does
            settings=settings(
                max_examples=EXAMPLES[kind],
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )


@contextmanager
def _open(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[RegistryStore, Any]]:
    if kind == "memory":
        yield MemoryRegistry(), None
        return
    with make_url(kind, request, folder) as url:
        database = open_database(url)
        try:
            yield SqlRegistryStore(database), make_reader(database)
        finally:
            database.close()
