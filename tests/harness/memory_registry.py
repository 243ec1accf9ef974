"""A registry in plain dicts: implements controlplane.registry.store.RegistryStore, for tests of what needs one.

It has no deployments and no replicas, so nothing of it is ever served. Thread-safe.
"""

import bisect
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from controlplane.domain import (
    Alias,
    AliasMove,
    Author,
    Fact,
    FactKind,
    Model,
    MoveKind,
    Version,
    VersionChange,
    VersionDraft,
    VersionEdit,
)
from controlplane.policy.alias_history import compute_rollback_target
from controlplane.registry import refusals
from controlplane.registry.page_bytes import count_bytes, cut_page
from controlplane.registry.sql.page_tokens import make_page_token, parse_page_token
from controlplane.registry.store import Page
from controlplane.registry.version_edits import compute_edit
from controlplane.registry.version_query import VersionQuery
from modelyard.errors import NotFoundError
from modelyard.resource_names import VersionName
from tests.harness.version_filter import select_versions

P = ParamSpec("P")
T = TypeVar("T")


def _atomic(method: Callable[Concatenate["MemoryRegistry", P], T]) -> Callable[Concatenate["MemoryRegistry", P], T]:
    """One call at a time. Each method checks all before it changes anything, so what raises changes nothing."""

    @wraps(method)
    def call(self: "MemoryRegistry", /, *args: P.args, **options: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **options)

    return call


class MemoryRegistry:
    """The protocol's docstrings hold."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._created: dict[str, datetime] = {}  # by model
        self._versions: dict[tuple[str, int], Version] = {}
        self._changes: dict[tuple[str, int], list[VersionChange]] = {}
        self._aliases: dict[tuple[str, str], Alias] = {}
        self._moves: list[AliasMove] = []
        self._facts: list[Fact] = []
        self._recorded: set[int] = set()

    @_atomic
    def check_new(self, model: str, sha256: str) -> None:
        for version in self._of_model(model):
            if version.facts.sha256 == sha256 and version.purged_at is None:
                raise refusals.known_bytes(model, version.number, version.deleted_at is not None)

    @_atomic
    def find_content(self, sha256: str) -> Version | None:
        return next((version for version in self._kept() if version.facts.sha256 == sha256), None)

    @_atomic
    def create_version(self, draft: VersionDraft, now: datetime) -> Version:
        self.check_new(draft.model, draft.sha256)
        self._created.setdefault(draft.model, now)
        version = Version(len(self._of_model(draft.model)) + 1, draft, now)
        self._versions[draft.model, version.number] = version
        self._tell(FactKind.REGISTERED, version, Author(now, draft.user), {})
        return version

    @_atomic
    def get_model(self, model: str) -> Model:
        if model not in self._created:
            raise refusals.no_model(model, sorted(self._created))
        aliases = tuple(alias for (of, _), alias in sorted(self._aliases.items()) if of == model)
        return Model(model, len(self._of_model(model)), aliases, self._created[model])

    @_atomic
    def list_models(self, page_size: int, page_token: str) -> Page[Model]:
        names = sorted(self._created)
        first = bisect.bisect(names, parse_page_token("models", page_token, str) or "")
        items, has_more = cut_page(map(self.get_model, names[first:]), page_size, count_bytes)
        return Page(items, make_page_token("models", items[-1].name) if has_more else "")

    @_atomic
    def get_version(self, model: str, number: int) -> Version:
        version = self._versions.get((model, number))
        if version is None:
            raise refusals.no_version(model, number, self.get_model(model).latest_version)
        return version

    @_atomic
    def get_versions(self, names: Collection[VersionName]) -> Mapping[VersionName, Version]:
        return {name: self._versions[name] for name in names if name in self._versions}

    @_atomic
    def list_versions(self, query: VersionQuery, page_size: int, page_token: str) -> Page[Version]:
        listing = repr(query)
        if query.model:
            self.get_model(query.model)
        first = parse_page_token(listing, page_token, int) or 0
        items, has_more = cut_page(self._select(query)[first:], page_size, count_bytes)
        return Page(items, make_page_token(listing, first + len(items)) if has_more else "")

    def _select(self, query: VersionQuery) -> Sequence[Version]:
        """All that the query asks for, in its order."""
        pointing: dict[tuple[str, int], list[str]] = {}
        for alias in self._aliases.values():
            pointing.setdefault((alias.model, alias.version), []).append(alias.name)
        return select_versions(
            query, self._versions.values(), lambda version: pointing.get((version.model, version.number), ())
        )

    @_atomic
    def edit_version(self, model: str, number: int, edit: VersionEdit, author: Author, expected: int | None) -> Version:
        before = self.get_version(model, number)
        if before.deleted_at is not None:
            raise refusals.not_editable(before)
        if expected is not None and expected != before.revision:
            last = self._changes.get((model, number), [None])[-1]
            raise refusals.changed_since(before, expected, last)
        facts, changes = compute_edit(before, edit)
        if not changes:
            return before
        change = VersionChange(before.revision + 1, author, changes)
        self._changes.setdefault((model, number), []).append(change)
        after = replace(before, facts=facts, revision=change.revision)
        return self._put(FactKind.CHANGED, after, author, {"revision": change.revision, "changes": changes})

    @_atomic
    def list_changes(self, model: str, number: int, page_size: int, page_token: str) -> Page[VersionChange]:
        listing = f"changes of {self.get_version(model, number).model_id}"
        first = parse_page_token(listing, page_token, int) or 0
        items, has_more = cut_page(self._changes.get((model, number), [])[first:], page_size, count_bytes)
        return Page(items, make_page_token(listing, first + len(items)) if has_more else "")

    @_atomic
    def delete_version(self, model: str, number: int, author: Author) -> Version:
        version = self._get_usable(model, number)
        names = [alias.name for alias in self.get_model(model).aliases if alias.version == number]
        if names:
            raise refusals.pointed_to(version, names)
        return self._put(FactKind.DELETED, replace(version, deleted_at=author.at), author)

    @_atomic
    def restore_version(self, model: str, number: int, author: Author) -> Version:
        version = self.get_version(model, number)
        if version.deleted_at is None or version.purged_at is not None:
            raise refusals.not_restorable(version)
        return self._put(FactKind.RESTORED, replace(version, deleted_at=None), author)

    @_atomic
    def list_purgeable(
        self, deleted_before: datetime, limit: int, after: VersionName | None = None
    ) -> Sequence[Version]:
        deleted = [v for v in self._kept() if v.deleted_at is not None and v.deleted_at <= deleted_before]
        named = sorted((VersionName(version.model, version.number), version) for version in deleted)
        return cut_page([v for name, v in named if after is None or name > after], limit, count_bytes)[0]

    @_atomic
    def purge_version(self, model: str, number: int, author: Author, deleted_before: datetime | None = None) -> Version:
        version = self.get_version(model, number)
        if version.deleted_at is None or version.purged_at is not None:
            raise refusals.not_purgeable(version)
        if deleted_before is not None and version.deleted_at > deleted_before:
            raise refusals.deleted_lately(version)
        return self._put(FactKind.PURGED, replace(version, purged_at=author.at), author)

    @_atomic
    def is_needed(
        self, sha256: str, without: Collection[VersionName] = (), deleted_before: datetime | None = None
    ) -> bool:
        others = [version for version in self._kept() if (version.model, version.number) not in without]
        if deleted_before is not None:
            others = [v for v in others if v.deleted_at is None or v.deleted_at > deleted_before]
        samples = {version.facts.sample.sha256 for version in others if version.facts.sample is not None}
        return sha256 in samples or any(version.facts.sha256 == sha256 for version in others)

    @_atomic
    def set_alias(self, alias: Alias, expected: int | None = None) -> Alias:
        self._get_usable(alias.model, alias.version)
        before = self._aliases.get((alias.model, alias.name))
        self._refuse_moved(alias.model, alias.name, expected)
        if before is not None and before.version == alias.version:
            return before
        author = Author(alias.moved_at, alias.user, alias.reason)
        self._move(MoveKind.SET, (alias.model, alias.name), alias.version, author)
        return alias

    @_atomic
    def roll_back_alias(self, model: str, name: str, author: Author, expected: int | None = None) -> AliasMove:
        self._refuse_moved(model, name, expected)
        target = compute_rollback_target(self._moves_of(model, name))
        if target is None:
            raise refusals.nothing_before(model, name, self._get_alias(model, name).version)
        version = self.get_version(model, target)
        if version.deleted_at is not None:
            raise refusals.rolled_back_onto_deleted(name, version)
        return self._move(MoveKind.ROLLBACK, (model, name), target, author)

    @_atomic
    def delete_alias(self, model: str, name: str, author: Author, expected: int | None = None) -> None:
        self._refuse_moved(model, name, expected)
        self._get_alias(model, name)
        self._move(MoveKind.REMOVE, (model, name), None, author)

    @_atomic
    def list_moves(self, model: str, alias: str, page_size: int, page_token: str) -> Page[AliasMove]:
        listing = f"moves of {model}@{alias}"
        last = parse_page_token(listing, page_token, int) or len(self._moves) + 1
        numbered = [(n, move) for n, move in enumerate(self._moves, 1) if move.model == model]
        found = [(n, move) for n, move in reversed(numbered) if alias in ("", move.alias) and n < last]
        if not found:
            self.get_model(model)
            if alias:
                self._get_alias(model, alias)
        items, has_more = cut_page(found, page_size, count_bytes)
        return Page([move for _, move in items], make_page_token(listing, items[-1][0]) if has_more else "")

    @_atomic
    def list_facts(self, recorded: bool, after: int, limit: int, newest_first: bool = False) -> Sequence[Fact]:
        wanted = [fact for fact in self._facts if (fact.number in self._recorded) == recorded]
        if newest_first:
            older = [fact for fact in reversed(wanted) if not after or fact.number < after]
            return cut_page(older, limit, count_bytes)[0]
        return cut_page([fact for fact in wanted if fact.number > after], limit, count_bytes)[0]

    @_atomic
    def count_unrecorded(self, model: str, number: int) -> int:
        of_version = {fact.number for fact in self._facts if (fact.model, fact.version) == (model, number)}
        return len(of_version - self._recorded)

    @_atomic
    def mark_recorded(self, numbers: Sequence[int], recorded: bool) -> None:
        if recorded:
            self._recorded.update(numbers)
        else:
            self._recorded.difference_update(numbers)

    def _of_model(self, model: str) -> list[Version]:
        return [version for version in self._versions.values() if version.model == model]

    def _kept(self) -> list[Version]:
        """Those whose files are there, oldest first."""
        return [version for version in self._versions.values() if version.purged_at is None]

    def _get_usable(self, model: str, number: int) -> Version:
        version = self.get_version(model, number)
        if version.deleted_at is not None:
            raise NotFoundError(refusals.describe_deletion(version))
        return version

    def _get_alias(self, model: str, name: str) -> Alias:
        others = [alias.name for alias in self.get_model(model).aliases]
        if name not in others:
            raise refusals.no_alias(model, name, others)
        return self._aliases[model, name]

    def _moves_of(self, model: str, name: str) -> list[AliasMove]:
        return [move for move in self._moves if (move.model, move.alias) == (model, name)]

    def _refuse_moved(self, model: str, name: str, expected: int | None) -> None:
        alias = self._aliases.get((model, name))
        current = alias.version if alias else 0
        if expected is not None and expected != current:
            moves = self._moves_of(model, name)
            raise refusals.moved_since(model, name, expected, current, moves[-1] if moves else None)

    def _move(self, kind: MoveKind, key: tuple[str, str], to_version: int | None, author: Author) -> AliasMove:
        before = self._aliases.pop(key, None)
        from_version = None if before is None else before.version
        move = AliasMove(*key, kind, from_version, to_version, author)
        self._moves.append(move)
        if to_version is not None:
            self._aliases[key] = Alias(*key, to_version, author.at, author.user, author.reason)
        version = to_version or from_version
        assert version is not None
        details = {"kind": kind.value, "from_version": from_version}
        self._tell(FactKind.ALIASED, self._versions[move.model, version], author, details, move.alias)
        return move

    def _put(self, kind: FactKind, version: Version, author: Author, details: Any = None) -> Version:
        self._versions[version.model, version.number] = version
        self._tell(kind, version, author, details or {})
        return version

    def _tell(self, kind: FactKind, version: Version, author: Author, details: Any, alias: str = "") -> None:
        fact = Fact(len(self._facts) + 1, kind, version.model, version.number, author, alias, details)
        self._facts.append(fact)
