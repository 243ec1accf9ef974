"""A loaded model, whatever computes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from modelyard.errors import UnavailableError
from modelyard.tensors import Array
from nodeagent.modelserver.signature import Signature


class DeviceLostError(UnavailableError):
    """What computes is of no use to this process any more, as after a fault of its GPU: only a new process helps."""


@dataclass(frozen=True)
class Engine:
    """What computes a model, as Triton would name it in a ModelConfig."""

    platform: str
    backend: str
    parameters: Mapping[str, str] = field(default_factory=dict)


class Run(Protocol):
    """One inference, which may be cancelled from another thread before and while it runs."""

    def cancel(self) -> None:
        """Ends it at the next node of the graph."""


_Run = TypeVar("_Run", bound=Run)


class Session(Protocol[_Run]):
    """`run` may be called from several threads."""

    @property
    def signature(self) -> Signature: ...

    @property
    def engine(self) -> Engine: ...

    @property
    def runs_one_at_a_time(self) -> bool:
        """Whether a second call of `run` waits for the first."""

    @property
    def has_steady_work(self) -> bool:
        """Whether how long a run takes follows from the shapes of its inputs, and it runs on the caller's thread."""

    def begin_run(self) -> _Run: ...

    def run(self, output_names: list[str], feeds: dict[str, Array], run: _Run | None = None) -> list[Array]:
        """The named outputs, in that order, which belong to the caller. Raises YardError."""

    def terminate(self) -> None:
        """Ends what runs now at its next node; every later run fails."""
