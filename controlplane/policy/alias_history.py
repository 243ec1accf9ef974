"""What an alias's moves say of its past. Pure."""

from collections.abc import Iterable

from controlplane.domain import AliasMove, MoveKind


def compute_rollback_target(moves: Iterable[AliasMove]) -> int | None:
    """The version that an alias pointed to before, of its moves, oldest first; None where there was none.

    Each rollback goes one step further back: after 1, 2, 3 two of them lead to 1, not to 3 again. A removal is a step
    like any other, and never where a rollback leads: what was removed comes back by one. Nor does one lead to where
    the alias is, after 1, a removal and 1 again.
    """
    places: list[int | None] = []
    for move in moves:
        if move.kind is MoveKind.ROLLBACK:
            _step_back(places)
        else:
            places.append(move.to_version)
    return _step_back(places)


def _step_back(places: list[int | None]) -> int | None:
    """Takes the last place off, and those before it that are the same or no version. What is last then."""
    left = places.pop() if places else None
    while places and places[-1] in (None, left):
        places.pop()
    return places[-1] if places else None
