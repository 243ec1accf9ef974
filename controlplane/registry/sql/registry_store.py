"""Models, versions and aliases in SQL: implements controlplane.registry.store.RegistryStore.

Here are its transactions; what each does is in the modules beside this one.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from controlplane.domain import (
    Alias,
    AliasMove,
    Author,
    Fact,
    Model,
    Version,
    VersionChange,
    VersionDraft,
    VersionEdit,
)
from controlplane.registry.sql import alias_writes, fact_journal, reads, search, version_writes
from controlplane.registry.sql.database import Database
from controlplane.registry.sql.lookups import find_model, find_version
from controlplane.registry.store import Page
from controlplane.registry.version_query import VersionQuery
from modelyard.resource_names import VersionName


class SqlRegistryStore:
    """The protocol's docstrings hold; every call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check_new(self, model: str, sha256: str) -> None:
        with self._database.reading() as connection:
            version_writes.refuse_known_bytes(connection, model, sha256)

    def find_content(self, sha256: str) -> Version | None:
        with self._database.reading() as connection:
            return reads.find_content(connection, sha256)

    def create_version(self, draft: VersionDraft, now: datetime) -> Version:
        with self._database.writing() as connection:
            return version_writes.create(connection, draft, now)

    def get_model(self, model: str) -> Model:
        with self._database.reading() as connection:
            return reads.read_model(connection, model)

    def list_models(self, page_size: int, page_token: str) -> Page[Model]:
        with self._database.reading() as connection:
            return reads.list_models(connection, page_size, page_token)

    def get_version(self, model: str, number: int) -> Version:
        with self._database.reading() as connection:
            return find_version(connection, model, number)

    def get_versions(self, names: Collection[VersionName]) -> Mapping[VersionName, Version]:
        with self._database.reading() as connection:
            return reads.read_versions(connection, names)

    def list_versions(self, query: VersionQuery, page_size: int, page_token: str) -> Page[Version]:
        with self._database.reading() as connection:
            if query.model:
                find_model(connection, query.model)
            return search.find_versions(connection, query, page_size, page_token)

    def edit_version(self, model: str, number: int, edit: VersionEdit, author: Author, expected: int | None) -> Version:
        with self._database.writing() as connection:
            return version_writes.edit(connection, model, number, edit, author, expected=expected)

    def list_changes(self, model: str, number: int, page_size: int, page_token: str) -> Page[VersionChange]:
        with self._database.reading() as connection:
            return reads.list_changes(connection, find_version(connection, model, number), page_size, page_token)

    def delete_version(self, model: str, number: int, author: Author) -> Version:
        with self._database.writing() as connection:
            return version_writes.delete(connection, model, number, author)

    def restore_version(self, model: str, number: int, author: Author) -> Version:
        with self._database.writing() as connection:
            return version_writes.restore(connection, model, number, author)

    def list_purgeable(
        self, deleted_before: datetime, limit: int, after: VersionName | None = None
    ) -> Sequence[Version]:
        with self._database.reading() as connection:
            return reads.list_purgeable(connection, deleted_before, limit, after)

    def purge_version(self, model: str, number: int, author: Author, deleted_before: datetime | None = None) -> Version:
        with self._database.writing() as connection:
            return version_writes.purge(connection, model, number, author, deleted_before)

    def is_needed(
        self, sha256: str, without: Collection[VersionName] = (), deleted_before: datetime | None = None
    ) -> bool:
        with self._database.reading() as connection:
            return reads.is_needed(connection, sha256, without, deleted_before)

    def set_alias(self, alias: Alias, expected: int | None = None) -> Alias:
        with self._database.writing() as connection:
            return alias_writes.set_alias(connection, alias, expected)

    def roll_back_alias(self, model: str, name: str, author: Author, expected: int | None = None) -> AliasMove:
        with self._database.writing() as connection:
            return alias_writes.roll_back(connection, model, name, author, expected)

    def delete_alias(self, model: str, name: str, author: Author, expected: int | None = None) -> None:
        with self._database.writing() as connection:
            alias_writes.remove(connection, model, name, author, expected)

    def list_moves(self, model: str, alias: str, page_size: int, page_token: str) -> Page[AliasMove]:
        with self._database.reading() as connection:
            return reads.list_moves(connection, model, alias, page_size, page_token)

    def list_facts(self, recorded: bool, after: int, limit: int, newest_first: bool = False) -> Sequence[Fact]:
        with self._database.reading() as connection:
            return fact_journal.read_facts(connection, recorded, after, limit, newest_first)

    def count_unrecorded(self, model: str, number: int) -> int:
        with self._database.reading() as connection:
            return fact_journal.count_unrecorded(connection, model, number)

    def mark_recorded(self, numbers: Sequence[int], recorded: bool) -> None:
        with self._database.writing() as connection:
            fact_journal.mark_recorded(connection, numbers, recorded)
