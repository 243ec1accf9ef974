"""What the first schema's rows tell of the past, also where their times are out of order."""

from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.registry.migrations.past import tell_the_past

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = {"model": "resnet", "alias": "production", "user_name": "ann", "reason": "why"}


def make_move(second: int, before: int | None, after: int | None) -> dict[str, Any]:
    kind = "set" if after else "remove"
    moment = START + timedelta(seconds=second)
    return {**KEY, "kind": kind, "from_version": before, "to_version": after, "moved_at": moment}


def make_change(second: float, replicas: int | None = 2, **more: Any) -> dict[str, Any]:
    rest: dict[str, Any] = {"threads": None, "memory_bytes": None, "no_retries": None}
    if replicas is not None:
        rest = {"threads": 1, "memory_bytes": 0, "no_retries": False, **more}
    return {**KEY, "replicas": replicas, **rest, "changed_at": START + timedelta(seconds=second)}


def tell(moves: list[dict[str, Any]], changes: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(fact["kind"], fact["version"]) for fact in tell_the_past([], moves, changes)]


def test_a_deployment_is_told_of_each_version_and_of_each_change_once() -> None:
    moves = [make_move(0, None, 1), make_move(3, 1, 2)]
    changes = [make_change(1), make_change(1.5), make_change(2, replicas=5), make_change(4, replicas=None)]
    assert tell(moves, changes) == [
        ("aliased", 1),
        ("deployed", 1),
        ("deployed", 1),
        ("aliased", 2),
        ("deployed", 2),
        ("undeployed", 2),
    ]


def test_what_is_told_of_a_changed_deployment_is_what_it_became() -> None:
    changes = [make_change(1), make_change(2, replicas=5), make_change(3, replicas=5, memory_bytes=1 << 30)]
    told = tell_the_past([], [make_move(0, None, 1)], changes)
    details = [fact["details"] for fact in told if fact["kind"] == "deployed"]
    assert details == [{"replicas": 2, "threads": 1}, {"replicas": 5, "threads": 1}, {"replicas": 5, "threads": 1}]


def test_at_one_moment_the_alias_comes_before_its_deployment() -> None:
    assert tell([make_move(0, None, 1)], [make_change(0)]) == [("aliased", 1), ("deployed", 1)]


def test_a_deployment_that_seems_older_than_its_alias_is_told_with_the_alias() -> None:
    assert tell([make_move(5, None, 1)], [make_change(0)]) == [("aliased", 1), ("deployed", 1)]


def test_an_alias_that_seems_removed_before_its_deployment_ended_loses_nothing() -> None:
    moves = [make_move(0, None, 1), make_move(2, 1, None)]
    changes = [make_change(1), make_change(9, replicas=None)]
    assert tell(moves, changes) == [("aliased", 1), ("deployed", 1), ("aliased", 1), ("undeployed", 1)]


def test_the_end_of_a_deployment_that_nothing_tells_of_is_left_out() -> None:
    assert tell([], [make_change(0, replicas=None)]) == []
