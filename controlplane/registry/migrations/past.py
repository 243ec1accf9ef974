"""What the tables of the first schema tell of the past, as rows of the second. Pure: migration 0002 reads and writes.

Kept as it was when that migration was made: it must not follow what the program's own code becomes.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]
_NO_DETAILS: Row = {}
_WISHED = ("replicas", "threads", "memory_bytes", "no_retries")
_PREFIX_CHARACTERS = 100
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def tell_the_past(versions: Iterable[Row], moves: Iterable[Row], changes: Iterable[Row]) -> list[Row]:
    """Facts in the order in which they happened; at one moment a version comes first, and its deployment last.

    `moves`: of aliases, and `changes`: of deployments, both oldest first. None counts as recorded, not even what the
    lineage store has of the first schema's versions: that lacks what is known of them since.
    """
    registered = (_fact("registered", version, version["number"], version["created_at"]) for version in versions)
    return sorted([*registered, *_replay(moves, changes)], key=lambda fact: fact["happened_at"])


def _replay(moves: Iterable[Row], changes: Iterable[Row]) -> Iterator[Row]:
    """Both histories together: which version was deployed follows from neither alone."""
    events = [*((move["moved_at"], move) for move in moves), *((change["changed_at"], change) for change in changes)]
    pointed: dict[tuple[str, str], int] = {}
    deployed: dict[tuple[str, str], Row] = {}  # what was wished for
    for moment, event in sorted(events, key=lambda event: event[0]):
        key = event["model"], event["alias"]
        is_told = False
        if "kind" in event:
            yield _aliased(event)
            pointed[key] = event["to_version"] or event["from_version"]
            is_told = event["to_version"] is not None
        elif event["replicas"] is None:
            if deployed.pop(key, None) and key in pointed:
                yield _fact("undeployed", event, pointed[key], moment)
        else:
            wished = {name: event[name] for name in _WISHED}
            is_told = deployed.get(key) != wished
            deployed[key] = wished
        # A clock that was set back may put a deployment before its alias, which then tells of it.
        if is_told and key in deployed and key in pointed:
            details = {name: deployed[key][name] for name in ("replicas", "threads")}
            yield _fact("deployed", event, pointed[key], moment, details)


def _aliased(move: Row) -> Row:
    details = {"kind": move["kind"], "from_version": move["from_version"]}
    return _fact("aliased", move, move["to_version"] or move["from_version"], move["moved_at"], details)


def _fact(kind: str, row: Row, version: int, moment: datetime, details: Row = _NO_DETAILS) -> Row:
    return {
        "kind": kind,
        "model": row["model"],
        "version": version,
        "alias": row.get("alias", ""),
        "details": dict(details),
        "user_name": row.get("user_name", ""),
        "reason": row.get("reason", ""),
        "happened_at": moment,
        "recorded": False,
    }


def list_values(version: Row) -> Iterator[Row]:
    """What it is searched by: a row for each metric, parameter and tag."""
    key = {"model": version["model"], "number": version["number"]}
    for name, number in version["metrics"].items():
        yield {**key, "kind": "metric", "key": name, "text_value": None, "text_prefix": None, "number_value": number}
    for kind in ("parameter", "tag"):
        for name, text in version[f"{kind}s"].items():
            searched = {"text_value": text, "text_prefix": text[:_PREFIX_CHARACTERS], "number_value": _number(text)}
            yield {**key, "kind": kind, "key": name, **searched}


def _number(text: str) -> float | None:
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None
