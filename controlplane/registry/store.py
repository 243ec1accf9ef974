"""What the controller needs of its database. Blocking: call from a thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from controlplane.domain import (
    Alias,
    Deployment,
    DeploymentKey,
    Model,
    Plan,
    RouteTable,
    StoredState,
    Version,
    VersionDraft,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    items: Sequence[T]
    next_token: str  # "": the last page


class RegistryStore(Protocol):
    """Models, versions and aliases. Raises modelyard.errors only."""

    def check_new(self, model: str, sha256: str) -> None:
        """AlreadyExistsError, naming the model-id, where the model has these bytes already."""

    def create_version(self, draft: VersionDraft, now: datetime) -> Version:
        """Gives the next number. Raises what `check_new` raises."""

    def get_model(self, model: str) -> Model:
        """NotFoundError with the names that are near."""

    def list_models(self, page_size: int, page_token: str) -> Page[Model]:
        """By name. InvalidArgumentError for a token that this store did not give."""

    def get_version(self, model: str, number: int) -> Version:
        """NotFoundError that tells which numbers there are."""

    def list_versions(self, model: str, page_size: int, page_token: str) -> Page[Version]:
        """Newest first."""

    def set_alias(self, alias: Alias) -> Alias:
        """Creates or moves it, and keeps the move in its history. NotFoundError for a version that is not there."""

    def delete_alias(self, model: str, name: str, user: str, reason: str, now: datetime) -> None:
        """FailedPreconditionError while a deployment serves it."""

    def list_for_lineage(self, recorded: bool, after: tuple[str, int], limit: int) -> Sequence[Version]:
        """Versions that the lineage store has confirmed, or has not, by model and number.

        `after`: the model and the number of the last one of the page before; ("", 0) for the first page.
        """

    def mark_recorded(self, model: str, number: int, recorded: bool) -> None:
        """Whether the lineage store has it."""


class StateStore(Protocol):
    """Deployments, placed replicas and the route table. Raises modelyard.errors only."""

    def put_deployment(self, deployment: Deployment, now: datetime) -> None:
        """Creates or replaces it. NotFoundError where the alias does not exist; the sentence says how to set it."""

    def get_deployment(self, key: DeploymentKey) -> Deployment:
        """NotFoundError with what is deployed."""

    def delete_deployment(self, key: DeploymentKey, now: datetime) -> None:
        """NotFoundError with what is deployed."""

    def load_state(self) -> StoredState:
        """One consistent read."""

    def apply_plan(self, plan: Plan, expected_revision: int) -> int:
        """Stores all of it and returns the new revision; each replica created uses up one replica number.

        AbortedError where the revision has moved on.
        """

    def store_route_table(self, table: RouteTable, retired: Mapping[str, int]) -> None:
        """Keeps the newest table, and for each replica-id in `retired` the table that first left it out."""
