"""Where a rollback leads."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain import AliasMove, Author, MoveKind
from controlplane.policy.alias_history import compute_rollback_target

START = datetime(2026, 1, 1, tzinfo=UTC)
BACK = "back"


def make_moves(*steps: int | str | None) -> list[AliasMove]:
    """A version: set to it; None: removed; BACK: rolled back, to where the policy says. One a second."""
    moves: list[AliasMove] = []
    for second, step in enumerate(steps):
        before = moves[-1].to_version if moves else None
        kind, to = MoveKind.SET, step
        if step is None:
            kind = MoveKind.REMOVE
        elif step == BACK:
            kind, to = MoveKind.ROLLBACK, compute_rollback_target(moves)
        assert to is None or isinstance(to, int)
        author = Author(START + timedelta(seconds=second))
        moves.append(AliasMove("resnet", "production", kind, before, to, author))
    return moves


@pytest.mark.parametrize(
    ("steps", "target"),
    [
        ((), None),
        ((1,), None),
        ((1, 2), 1),
        ((1, 2, 3, BACK), 1),
        ((1, 2, 3, BACK, BACK), None),
        ((1, 2, BACK, 3), 1),
        ((1, 2, 1), 2),
        ((1, 2, 1, BACK), 1),
        ((1, None), 1),
        ((1, None, BACK), None),
        ((1, 2, None, BACK), 1),
        ((1, None, 2), 1),
        ((3, 1, None, 1), 3),
        ((1, None, 1), None),
    ],
)
def test_a_rollback_leads_to_the_version_before(steps: tuple[int | str | None, ...], target: int | None) -> None:
    assert compute_rollback_target(make_moves(*steps)) == target


@given(st.lists(st.sampled_from([1, 2, 3, None, BACK]), max_size=20))
def test_rollbacks_come_to_an_end_and_never_stay(wished: list[int | str | None]) -> None:
    steps: list[int | str | None] = []
    for step in wished:
        moves = make_moves(*steps)
        current = moves[-1].to_version if moves else None
        if step != current and (step != BACK or compute_rollback_target(moves) is not None):
            steps.append(step)
    for _ in range(len(steps) + 1):
        moves = make_moves(*steps)
        target = compute_rollback_target(moves)
        if target is None:
            return
        assert target != moves[-1].to_version
        assert target in steps
        steps.append(BACK)
    pytest.fail(f"rollbacks go on for ever: {steps}")
