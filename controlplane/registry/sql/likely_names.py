"""Which of many names somebody who mistyped one may have meant: the database picks the few that are compared."""

from typing import Any

import sqlalchemy as sa

from controlplane.registry.near_names import MOST_CANDIDATES
from controlplane.registry.sql.text import contains

_MOST_PIECES = 8
_PIECE_CHARACTERS = 3


def select_likely(names: sa.Select[Any], wanted: str) -> sa.Select[Any]:
    """Of `names`, a select of one column `name`, MOST_CANDIDATES and one more, which tells that there are others.

    First those that have most of the pieces of `wanted`: one slip of the finger spoils one piece, or two.
    """
    among = names.subquery()
    name = among.c.name
    score = sum((sa.case((contains(name, piece), 1), else_=0) for piece in _cut(wanted)), sa.literal(0))
    strangeness = sa.func.abs(sa.func.length(name) - len(wanted))
    return sa.select(name).order_by(score.desc(), strangeness, name).limit(MOST_CANDIDATES + 1)


def _cut(wanted: str) -> list[str]:
    size = _PIECE_CHARACTERS if len(wanted) >= 2 * _PIECE_CHARACTERS else 2
    pieces = [wanted[start : start + size] for start in range(0, len(wanted) - size + 1, size)]
    step = -(-len(pieces) // _MOST_PIECES) or 1  # of a long name, pieces from all over it
    return pieces[::step]
