"""What a check found."""

from collections.abc import Iterable
from dataclasses import dataclass, field

# More of a kind would bury the others.
MOST_OF_A_KIND = 20


@dataclass(frozen=True)
class Problem:
    check: str  # which found it
    message: str  # says what to do


@dataclass
class Report:
    schema: str = ""
    problems: list[Problem] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what is worth knowing, and no problem

    def add(self, check: str, messages: Iterable[str]) -> None:
        """Keeps the first of them, and says that there are more."""
        for number, message in enumerate(messages):
            if number == MOST_OF_A_KIND:
                self.problems.append(Problem(check, "there is more of this kind: mend what is above, and check again"))
                return
            self.problems.append(Problem(check, message))
