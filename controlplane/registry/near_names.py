"""Sentences that help a person who mistyped a name."""

import difflib
from collections.abc import Sequence

_SHOWN = 5
# To compare a name with so many takes some 50 ms; with all of a large registry's it would take seconds.
MOST_CANDIDATES = 1_000


def describe_choice(wanted: str, names: Sequence[str], otherwise: str) -> str:
    """ "did you mean resnet?" where `names` has near ones, some of the names where not, `otherwise` without any.

    Of more than MOST_CANDIDATES the rest is not looked at: give the likeliest first.
    """
    if not names:
        return otherwise
    if near := find_near(wanted, names):
        return f"did you mean {', '.join(near)}?"
    shown = ", ".join(sorted(names[:MOST_CANDIDATES])[:_SHOWN])
    if len(names) > MOST_CANDIDATES:
        return f"there are {shown} and many more"
    more = len(names) - _SHOWN
    return f"there are {shown}{f' and {more} more' if more > 0 else ''}"


def find_near(wanted: str, names: Sequence[str]) -> list[str]:
    """Those of the first MOST_CANDIDATES of `names` that somebody may have meant, the nearest first."""
    by_folded = {name.casefold(): name for name in names[:MOST_CANDIDATES]}
    near = difflib.get_close_matches(wanted.casefold(), by_folded, n=_SHOWN, cutoff=0.6)
    return [by_folded[name] for name in near]
