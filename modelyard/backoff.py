"""How long to wait before something is tried again."""

import random


class Backoff:
    """Doubles from `first_s` to `longest_s` seconds; chance takes up to half, so that not all come back at once."""

    def __init__(self, first_s: float = 0.1, longest_s: float = 2.0) -> None:
        self._first_s = self._next_s = first_s
        self._longest_s = longest_s

    def next_s(self) -> float:
        """Seconds to wait now."""
        present_s = self._next_s
        self._next_s = min(2 * present_s, self._longest_s)
        return present_s * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """To be called after a success: the next wait is short again."""
        self._next_s = self._first_s
