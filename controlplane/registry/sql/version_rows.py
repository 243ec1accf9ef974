"""Versions and what happened to them, to and from rows and their JSON columns."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from controlplane.domain import (
    AliasMove,
    Author,
    Fact,
    FactKind,
    ModelFormat,
    MoveKind,
    Origin,
    Packaging,
    Sample,
    Source,
    Version,
    VersionChange,
    VersionDraft,
)
from controlplane.registry.signature_json import (
    details_from_json,
    details_to_json,
    signature_from_json,
    signature_to_json,
)

Values = dict[str, Any]


def draft_to_values(draft: VersionDraft) -> Values:
    return {
        "model": draft.model,
        "format": draft.format.value,
        "uri": draft.uri,
        "sha256": draft.sha256,
        "size_bytes": draft.size_bytes,
        "signature": signature_to_json(draft.signature),
        "user_name": draft.user,
        "parameters": dict(draft.parameters),
        "packaging": draft.packaging.value,
        "details": draft.details and details_to_json(draft.details),
        "source": asdict(draft.source),
        "sample": draft.sample and asdict(draft.sample),
        "sample_sha256": draft.sample and draft.sample.sha256,
        "origin": draft.origin and _origin_to_json(draft.origin),
        **changeable_to_values(draft),
    }


def changeable_to_values(draft: VersionDraft) -> Values:
    """Of the columns that may change."""
    return {"description": draft.description, "metrics": dict(draft.metrics), "tags": dict(draft.tags)}


def version_from_row(row: Row[Any]) -> Version:
    return Version(
        number=row.number,
        facts=_draft_from_row(row),
        created_at=row.created_at,
        revision=row.revision,
        deleted_at=row.deleted_at,
        purged_at=row.purged_at,
    )


def _draft_from_row(row: Row[Any]) -> VersionDraft:
    format_ = ModelFormat(row.format)
    return VersionDraft(
        model=row.model,
        format=format_,
        uri=row.uri,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        signature=signature_from_json(row.signature),
        description=row.description,
        user=row.user_name,
        metrics=row.metrics,
        parameters=row.parameters,
        tags=row.tags,
        packaging=Packaging(row.packaging),
        details=row.details and details_from_json(format_, row.details),
        source=Source(**row.source),
        sample=row.sample and Sample(**row.sample),
        origin=row.origin and _origin_from_json(row.origin),
    )


def _origin_to_json(origin: Origin) -> Values:
    return {**asdict(origin), "created_at": origin.created_at and origin.created_at.isoformat()}


def _origin_from_json(value: Mapping[str, Any]) -> Origin:
    created_at = value["created_at"]
    return Origin(**{**value, "created_at": created_at and datetime.fromisoformat(created_at)})


def change_from_row(row: Row[Any]) -> VersionChange:
    return VersionChange(row.revision, Author(row.changed_at, row.user_name, row.reason), row.changes)


def move_from_row(row: Row[Any]) -> AliasMove:
    author = Author(row.moved_at, row.user_name, row.reason)
    return AliasMove(row.model, row.alias, MoveKind(row.kind), row.from_version, row.to_version, author)


def fact_from_row(row: Row[Any]) -> Fact:
    author = Author(row.happened_at, row.user_name, row.reason)
    return Fact(row.number, FactKind(row.kind), row.model, row.version, author, row.alias, row.details)
