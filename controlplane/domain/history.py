"""What happened to versions and aliases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from controlplane.domain.models import Alias, Author


class MoveKind(StrEnum):
    SET = "set"
    ROLLBACK = "rollback"
    REMOVE = "remove"


@dataclass(frozen=True)
class AliasMove:
    model: str
    alias: str
    kind: MoveKind
    from_version: int | None  # None: there was no such alias
    to_version: int | None  # None: it was removed
    author: Author


class FactKind(StrEnum):
    """What the lineage store is told of."""

    REGISTERED = "registered"
    CHANGED = "changed"  # details: revision, changes
    ALIASED = "aliased"  # details: kind, from_version
    # The alias is deployed like this, and points to this version; details: replicas, threads, and of gpu_percent,
    # gpu_memory_bytes, runtime, max_batch_rows and max_batch_wait_us those that were chosen.
    DEPLOYED = "deployed"
    UNDEPLOYED = "undeployed"
    DELETED = "deleted"
    RESTORED = "restored"
    PURGED = "purged"


@dataclass(frozen=True)
class Fact:
    """Something that happened to a version, written in the transaction in which it did. Facts are never changed.

    `alias`: of ALIASED, DEPLOYED and UNDEPLOYED, else "". `details`: JSON.
    """

    number: int  # of the fact, growing
    kind: FactKind
    model: str
    version: int
    author: Author
    alias: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    name: str
    latest_version: int
    aliases: tuple[Alias, ...]
    created_at: datetime
