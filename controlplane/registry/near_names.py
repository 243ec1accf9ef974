"""Sentences that help a person who mistyped a name."""

import difflib
from collections.abc import Sequence

_SHOWN = 5


def describe_choice(wanted: str, names: Sequence[str], otherwise: str) -> str:
    """ "did you mean resnet?" where `names` has near ones, some of the names where not, `otherwise` without any."""
    if not names:
        return otherwise
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), by_folded, n=_SHOWN, cutoff=0.6)
    if near:
        return f"did you mean {', '.join(by_folded[name] for name in near)}?"
    shown = ", ".join(names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"there are {shown}{f' and {more} more' if more > 0 else ''}"
