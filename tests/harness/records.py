"""Records that tests put into a registry."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.domain import Alias, Author, ModelFormat, Signature, TensorSpec, VersionDraft

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "BYTES", ()),))


def make_sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def make_draft(model: str = "resnet", content: str = "a", **facts: Any) -> VersionDraft:
    sha256 = make_sha256(content)
    return VersionDraft(model, ModelFormat.ONNX, f"file:///{sha256}", sha256, len(content), SIGNATURE, **facts)


def make_alias(version: int, model: str = "resnet", name: str = "production", *, after_s: float = 0) -> Alias:
    """Set by ann, `after_s` behind NOW."""
    return Alias(model, name, version, NOW + timedelta(seconds=after_s), user="ann", reason="better")


def make_author(user: str = "bob", reason: str = "why", *, after_s: float = 0) -> Author:
    return Author(NOW + timedelta(seconds=after_s), user, reason)
