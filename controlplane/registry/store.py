"""What the controller needs of its database. Blocking: call from a thread."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from controlplane.domain import (
    Alias,
    AliasMove,
    Author,
    Deployment,
    DeploymentKey,
    Fact,
    Model,
    NodeScheduling,
    Plan,
    RouteTable,
    StoredState,
    Version,
    VersionChange,
    VersionDraft,
    VersionEdit,
)
from controlplane.registry.version_query import VersionQuery
from modelyard.resource_names import VersionName

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """At most as many items as were asked for, fewer where they are large (controlplane.registry.page_bytes)."""

    items: Sequence[T]
    next_token: str  # "": the last page


class RegistryStore(Protocol):
    """Models, versions and aliases. Raises modelyard.errors only. Each call is one transaction.

    What is deleted is not found, save where it says otherwise; what happens to a version is kept as a Fact with it.
    """

    def check_new(self, model: str, sha256: str) -> None:
        """AlreadyExistsError, naming the model-id, where the model has these bytes already.

        A deleted version counts (the sentence says how to restore it), a purged one does not.
        """

    def find_content(self, sha256: str) -> Version | None:
        """Any version of any model, deleted or not, with these bytes, which are not purged."""

    def create_version(self, draft: VersionDraft, now: datetime) -> Version:
        """Gives the next number. Raises what `check_new` raises."""

    def get_model(self, model: str) -> Model:
        """NotFoundError with the names that are near."""

    def list_models(self, page_size: int, page_token: str) -> Page[Model]:
        """By name, those whose versions are all deleted, too: their names and numbers stay taken.

        InvalidArgumentError for a token that this store did not give.
        """

    def get_version(self, model: str, number: int) -> Version:
        """Deleted and purged ones, too. NotFoundError that tells which numbers there are."""

    def get_versions(self, names: Collection[VersionName]) -> Mapping[VersionName, Version]:
        """Those of up to 1,000 that are there, deleted and purged ones, too."""

    def list_versions(self, query: VersionQuery, page_size: int, page_token: str) -> Page[Version]:
        """InvalidArgumentError for a token of another query, and for a metric, parameter or tag that no version has.

        NotFoundError for a model that is not there.
        """

    def edit_version(self, model: str, number: int, edit: VersionEdit, author: Author, expected: int | None) -> Version:
        """Changes what may change, and keeps the change; one that changes nothing is none.

        `expected`: the revision that the caller saw; AbortedError where it is another. FailedPreconditionError for a
        metric that is there with another value, and for a version that is deleted; InvalidArgumentError for too many.
        """

    def list_changes(self, model: str, number: int, page_size: int, page_token: str) -> Page[VersionChange]:
        """Oldest first."""

    def delete_version(self, model: str, number: int, author: Author) -> Version:
        """Out of sight. FailedPreconditionError, saying what to do, while an alias points to it or a replica has it."""

    def restore_version(self, model: str, number: int, author: Author) -> Version:
        """Takes the deletion back. FailedPreconditionError where it is not deleted, or purged."""

    def list_purgeable(
        self, deleted_before: datetime, limit: int, after: VersionName | None = None
    ) -> Sequence[Version]:
        """Deleted until then, and not purged; by name, from the one behind `after`, which need not be there any more.

        Fewer than `limit` where they are large; none only where there are no more.
        """

    def purge_version(self, model: str, number: int, author: Author, deleted_before: datetime | None = None) -> Version:
        """Its record says that its files are gone: remove them afterwards.

        FailedPreconditionError where it is not deleted, purged already, or deleted after `deleted_before`.
        """

    def is_needed(
        self, sha256: str, without: Collection[VersionName] = (), deleted_before: datetime | None = None
    ) -> bool:
        """Whether a version that is not purged has a file with this content, its sample included.

        Other than those of `without`, and those deleted until `deleted_before`.
        """

    def set_alias(self, alias: Alias, expected: int | None = None) -> Alias:
        """Creates or moves it, and keeps the move in its history. NotFoundError for a version that is not there.

        `expected`: the version that the caller saw it point to, 0: none; AbortedError, saying who moved it where,
        when and why, where it is another.
        """

    def roll_back_alias(self, model: str, name: str, author: Author, expected: int | None = None) -> AliasMove:
        """Points it to what it pointed to before (controlplane.policy.alias_history). FailedPreconditionError."""

    def delete_alias(self, model: str, name: str, author: Author, expected: int | None = None) -> None:
        """FailedPreconditionError while a deployment serves it."""

    def list_moves(self, model: str, alias: str, page_size: int, page_token: str) -> Page[AliasMove]:
        """Newest first. `alias`: "" for all of the model's."""

    def list_facts(self, recorded: bool, after: int, limit: int, newest_first: bool = False) -> Sequence[Fact]:
        """Those that the lineage store has confirmed, or has not, by number, from the one behind `after`.

        With `newest_first` those before `after`, 0: from the newest on. Fewer than `limit` where they are large, none
        only where there are no more.
        """

    def count_unrecorded(self, model: str, number: int) -> int:
        """How many facts of a version the lineage store has not confirmed."""

    def mark_recorded(self, numbers: Sequence[int], recorded: bool) -> None:
        """Whether the lineage store has these facts."""


class StateStore(Protocol):
    """Deployments, placed replicas and the route table. Raises modelyard.errors only."""

    def put_deployment(self, deployment: Deployment, author: Author) -> None:
        """Creates or replaces it. NotFoundError where the alias does not exist; the sentence says how to set it."""

    def get_deployment(self, key: DeploymentKey) -> Deployment:
        """NotFoundError with what is deployed."""

    def delete_deployment(self, key: DeploymentKey, author: Author) -> None:
        """NotFoundError with what is deployed."""

    def put_scheduling(self, scheduling: NodeScheduling) -> None:
        """Whether a node takes replicas, from now on. Of one that is OPEN nothing is kept."""

    def load_state(self) -> StoredState:
        """One consistent read."""

    def apply_plan(self, plan: Plan, expected_revision: int) -> int:
        """Stores all of it and returns the new revision; each replica created uses up one replica number.

        AbortedError where the revision has moved on.
        """

    def store_route_table(self, table: RouteTable, retired: Mapping[str, int]) -> None:
        """Keeps the newest table, and for each replica-id in `retired` the table that first left it out."""
