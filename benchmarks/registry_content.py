"""A registry full of models for `benchmarks/registry.py`, written in bulk, for it takes long one by one."""

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa

from controlplane.domain import ModelFormat, OnnxDetails, Signature, Source, TensorSpec, VersionDraft
from controlplane.registry.sql.schema import alias_moves, aliases, models, version_values, versions
from controlplane.registry.sql.version_rows import draft_to_values
from controlplane.registry.sql.version_values import list_values

VERSIONS_EACH = 10
TEAMS = ("vision", "speech", "language", "ranking", "forecasts")
START = datetime(2025, 1, 1, tzinfo=UTC)
_FORMATS = [ModelFormat.ONNX] * 17 + [ModelFormat.SAVEDMODEL] * 2 + [ModelFormat.TENSORRT]
_SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 3, 224, 224)),), (TensorSpec("y", "FP32", (-1, 1000)),))
_BATCH = 2_000


def model_name(index: int) -> str:
    return f"model-{index:05}"


def make_draft(model: str, number: int) -> VersionDraft:
    """The same for the same arguments: of ten the best accuracy is over 0.9, of five one is of the team "vision"."""
    chance = random.Random(f"{model}@{number}")
    sha256 = hashlib.sha256(f"{model}@{number}".encode()).hexdigest()
    format_ = chance.choice(_FORMATS)
    return VersionDraft(
        model=model,
        format=format_,
        uri=f"{sha256[:2]}/{sha256}",
        sha256=sha256,
        size_bytes=chance.randrange(1_000_000, 1_000_000_000),
        signature=_SIGNATURE,
        description=f"what {model} was on day {number}",
        user=chance.choice(("ann", "bo", "kim")),
        metrics={"accuracy": chance.random(), "loss": chance.expovariate(1), "latency_ms": chance.uniform(1, 50)},
        parameters={"lr": f"{10 ** -chance.uniform(1, 5):.2g}", "optimizer": chance.choice(("sgd", "adam"))},
        tags={"team": chance.choice(TEAMS), "ticket": f"T-{chance.randrange(10_000)}"},
        details=OnnxDetails(8, {"": 17}, "pytorch", "2.5") if format_ is ModelFormat.ONNX else None,
        source=Source(git_commit=sha256[:40]),
    )


def fill(connection: sa.Connection, count: int) -> None:
    """`count` models with their versions, and "production" on the newest of each."""
    names = [model_name(index) for index in range(count)]
    made = [{"name": name, "latest_version": VERSIONS_EACH, "created_at": START} for name in names]
    _insert(connection, models, iter(made))
    drafts = [(make_draft(name, number), number) for name in names for number in range(1, VERSIONS_EACH + 1)]
    _insert(connection, versions, (_to_row(draft, number) for draft, number in drafts))
    _insert(connection, version_values, (row for draft, number in drafts for row in _to_values(draft, number)))
    _insert(connection, aliases, (_to_alias(name) for name in names))
    _insert(connection, alias_moves, (_to_move(name) for name in names))


def _to_row(draft: VersionDraft, number: int) -> dict[str, Any]:
    created_at = START + timedelta(days=number, seconds=int(draft.sha256[:4], 16))
    return {**draft_to_values(draft), "number": number, "created_at": created_at, "revision": 0}


def _to_values(draft: VersionDraft, number: int) -> Iterator[dict[str, Any]]:
    return ({"model": draft.model, "number": number, **row} for row in list_values(draft))


def _to_alias(model: str) -> dict[str, Any]:
    author = {"user_name": "ann", "reason": "newest", "moved_at": START}
    return {"model": model, "name": "production", "version": VERSIONS_EACH, **author}


def _to_move(model: str) -> dict[str, Any]:
    author = {"user_name": "ann", "reason": "newest", "moved_at": START}
    return {"model": model, "alias": "production", "kind": "set", "to_version": VERSIONS_EACH, **author}


def _insert(connection: sa.Connection, table: sa.Table, rows: Iterator[dict[str, Any]]) -> None:
    while batch := list(islice(rows, _BATCH)):
        connection.execute(sa.insert(table), batch)
