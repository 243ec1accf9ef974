"""What a registry refuses, in the same sentence whatever keeps its records. Each function makes an error to raise."""

from collections.abc import Sequence

from controlplane.domain import AliasMove, Author, MoveKind, Version, VersionChange
from controlplane.registry.near_names import describe_choice
from controlplane.registry.version_query import Field
from modelyard.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from modelyard.resource_names import model_id

_SHOWN = 5


def known_bytes(model: str, number: int, is_deleted: bool) -> AlreadyExistsError:
    known = model_id(model, number)
    if is_deleted:
        return AlreadyExistsError(
            f"{known} has exactly these bytes and was deleted; take that back with: modelyard restore {known}"
        )
    return AlreadyExistsError(f"{known} has exactly these bytes already; use it as it is")


def no_model(model: str, names: Sequence[str]) -> NotFoundError:
    """`names`: of all models, or the likeliest first."""
    hint = describe_choice(model, names, "none is registered yet: modelyard register NAME PATH")
    return NotFoundError(f"there is no model {model!r}; {hint}")


def no_version(model: str, number: int, latest: int) -> NotFoundError:
    have = "version 1 only" if latest == 1 else f"versions 1 to {latest}"
    return NotFoundError(f"{model!r} has no version {number}; it has {have}")


def no_alias(model: str, name: str, others: Sequence[str]) -> NotFoundError:
    have = f"it has {', '.join(sorted(others))}" if others else "it has none yet"
    return NotFoundError(
        f"{model!r} has no alias {name!r} ({have}); modelyard alias set {model} {name} VERSION sets it"
    )


def describe_deletion(version: Version) -> str:
    """For a version that is deleted: what to do about it."""
    if version.purged_at is not None:
        return (
            f"{version.model_id} was deleted and purged, its files are gone; register them again as a new version: "
            f"modelyard register {version.model} FILE"
        )
    return f"{version.model_id} was deleted; take that back with: modelyard restore {version.model_id}"


def pointed_to(version: Version, names: Sequence[str]) -> FailedPreconditionError:
    """Of `names`, sorted: the aliases that point to it."""
    return FailedPreconditionError(
        f"{version.model_id} cannot be deleted while an alias points to it: {', '.join(names)}; first move it with: "
        f"modelyard alias set {version.model} {names[0]} VERSION, "
        f"or remove it with: modelyard alias remove {version.model} {names[0]}"
    )


def served(version: Version, replica_ids: Sequence[str]) -> FailedPreconditionError:
    """No alias points to it any more, so its replicas are on their way out."""
    more = len(replica_ids) - _SHOWN
    shown = ", ".join(replica_ids[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return FailedPreconditionError(
        f"{version.model_id} cannot be deleted while replicas have it: {shown}; try again once they are gone from: "
        "modelyard replicas"
    )


def not_editable(version: Version) -> FailedPreconditionError:
    """For one that is deleted."""
    return FailedPreconditionError(f"what is deleted cannot be changed: {describe_deletion(version)}")


def not_restorable(version: Version) -> FailedPreconditionError:
    """For one that is not deleted, or is purged."""
    if version.purged_at is not None:
        return FailedPreconditionError(f"it cannot be restored: {describe_deletion(version)}")
    return FailedPreconditionError(f"{version.model_id} is not deleted, so use it as it is")


def not_purgeable(version: Version) -> FailedPreconditionError:
    """For one that is not deleted, or is purged."""
    if version.purged_at is not None:
        return FailedPreconditionError(f"{version.model_id} was purged already; there is nothing left to remove")
    return FailedPreconditionError(
        f"{version.model_id} is not deleted, so its files stay; delete it first: modelyard delete {version.model_id}"
    )


def deleted_lately(version: Version) -> FailedPreconditionError:
    """For one that is deleted, and not as long ago as whoever purges asked for."""
    return FailedPreconditionError(
        f"{version.model_id} was deleted at {version.deleted_at:%Y-%m-%d %H:%M} only; wait, or ask for a smaller age"
    )


def deployed(model: str, name: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{model!r} is deployed by its alias {name!r}; first run: modelyard undeploy {model} --alias {name}"
    )


def changed_since(version: Version, expected: int, last: VersionChange | None) -> AbortedError:
    """`last`: its last change, None where there was none."""
    seen = f"{version.model_id} is at revision {version.revision}, not {expected}"
    if last is None:
        return AbortedError(f"{seen}: it was never changed; look at it again, then try again")
    what = " and ".join(last.changes)
    return AbortedError(f"{seen}: {_describe(last.author, f'changed its {what}')}; look at it again, then try again")


def moved_since(model: str, name: str, expected: int, current: int, last: AliasMove | None) -> AbortedError:
    """`expected`, `current`: 0 for no alias. `last`: its last move, None where there was none."""
    is_now = f"points to version {current}" if current else "is not set"
    wanted = f"to point to version {expected}" if expected else "not to be set"
    seen = f"the alias {name!r} of {model!r} {is_now}, and you expected it {wanted}"
    if last is None:
        return AbortedError(f"{seen}: it never was; look again, then try again")
    verb = {
        MoveKind.SET: f"pointed it to version {last.to_version}",
        MoveKind.ROLLBACK: f"rolled it back to version {last.to_version}",
        MoveKind.REMOVE: "removed it",
    }[last.kind]
    return AbortedError(f"{seen}: {_describe(last.author, verb)}; see modelyard history {model}, then try again")


def nothing_before(model: str, name: str, current: int) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"the alias {name!r} of {model!r} pointed to nothing before version {current}, so there is nothing to go back "
        f"to; point it elsewhere with: modelyard alias set {model} {name} VERSION"
    )


def rolled_back_onto_deleted(name: str, target: Version) -> FailedPreconditionError:
    way_out = describe_deletion(target)
    if target.purged_at is not None:
        way_out = (
            "it was deleted and purged, its files are gone; point the alias to another version: "
            f"modelyard alias set {target.model} {name} VERSION"
        )
    return FailedPreconditionError(
        f"{name!r} pointed to {target.model_id} before, and that cannot be gone back to: {way_out}"
    )


def unknown_key(field: Field, keys: Sequence[str]) -> InvalidArgumentError:
    """`keys`: those of its kind that versions have, or the likeliest first."""
    hint = describe_choice(field.name, keys, f"none has any {field.kind} yet")
    return InvalidArgumentError(f"no version has the {field.kind} {field.name!r}; {hint}")


def _describe(author: Author, verb: str) -> str:
    why = f' ("{author.reason}")' if author.reason else ""
    return f"{author.user or 'somebody'} {verb} at {author.at:%Y-%m-%d %H:%M:%S} UTC{why}"
