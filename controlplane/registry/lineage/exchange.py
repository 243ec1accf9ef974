"""What the controller and the process that has the lineage store open say to each other, as pickles over its pipes.

Pickles, for both ends are this program, and nobody else holds an end of those pipes.
"""

from dataclasses import dataclass
from typing import Any

from modelyard.errors import InternalError, YardError


@dataclass(frozen=True)
class Request:
    """A call of a method of `LocalLineage`."""

    method: str
    arguments: tuple[Any, ...]
    deadline_s: float


@dataclass(frozen=True)
class Answer:
    """Its result, or the error that it raised, with the traceback of one that is no sentence for anybody."""

    result: Any = None
    error: YardError | None = None
    traceback: str = ""

    def open(self) -> Any:
        """The result, or raises the error; what is no YardError has become an InternalError with a note."""
        if self.traceback:
            error = InternalError("the lineage store failed at what it was asked; the controller's log has the details")
            error.add_note(f"In its process:\n{self.traceback}")
            raise error
        if self.error is not None:
            raise self.error
        return self.result
