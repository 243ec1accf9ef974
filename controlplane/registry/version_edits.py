"""What a change makes of a version. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from controlplane.domain import Version, VersionDraft, VersionEdit
from controlplane.registry.announcement import MOST_ENTRIES
from modelyard.errors import FailedPreconditionError, InvalidArgumentError


class Edited(NamedTuple):
    """`changes` as of VersionChange; empty where the edit changes nothing."""

    facts: VersionDraft
    changes: Mapping[str, Any]


def compute_edit(version: Version, edit: VersionEdit) -> Edited:
    """FailedPreconditionError for a metric that is there with another value, InvalidArgumentError for too many.

    A tag that is both set and removed is set.
    """
    facts = version.facts
    _refuse_changed_metrics(version, edit)
    kept = {key: text for key, text in facts.tags.items() if key not in edit.remove_tags}
    after = replace(
        facts,
        description=facts.description if edit.description is None else edit.description,
        tags={**kept, **edit.set_tags},
        metrics={**facts.metrics, **edit.add_metrics},
    )
    _refuse_too_many(version, after)
    return Edited(after, _compare(facts, after))


def _refuse_changed_metrics(version: Version, edit: VersionEdit) -> None:
    for key, number in edit.add_metrics.items():
        before = version.facts.metrics.get(key, number)
        if before != number:
            raise FailedPreconditionError(
                f"{version.model_id} has the metric {key!r} already, with {before!r}: what was measured is never "
                f"changed; add {number!r} under another name"
            )


def _refuse_too_many(version: Version, after: VersionDraft) -> None:
    for name, entries in (("tags", after.tags), ("metrics", after.metrics)):
        if len(entries) > MOST_ENTRIES:
            raise InvalidArgumentError(
                f"{version.model_id} would have {len(entries)} {name}; {MOST_ENTRIES} is the most"
            )


def _compare(before: VersionDraft, after: VersionDraft) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if before.description != after.description:
        changes["description"] = {"from": before.description, "to": after.description}
    for name in ("tags", "metrics"):
        old, new = getattr(before, name), getattr(after, name)
        if changed := [key for key in {**old, **new} if old.get(key) != new.get(key)]:
            changes[name] = {"from": _pick(old, changed), "to": _pick(new, changed)}
    return changes


def _pick(entries: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: entries[key] for key in keys if key in entries}
