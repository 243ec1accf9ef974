"""One request on its way from the event loop to the thread that runs the model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nodeagent.modelserver.batch import BatchKey
from nodeagent.modelserver.converters import Inference
from nodeagent.modelserver.known_requests import Known
from nodeagent.modelserver.session import Run
from nodeagent.modelserver.wire import Buffer


@dataclass(slots=True, eq=False)
class Job:
    """The event loop makes it, and may give it up at any time; all else belongs to the thread, until it is settled.

    Times are in nanoseconds of the monotonic clock. `deadline`: None where the caller has none.
    """

    request: Any  # a ModelInferRequest; None once nobody waits for it any more
    raws: Sequence[Buffer]
    run: Run
    future: "asyncio.Future[Any]"
    request_id: str
    accepted: int
    deadline: int | None = None
    known: Known | None = None
    is_given_up: bool = False
    inference: Inference | None = None  # once it is decoded
    key: BatchKey | None = None
    rows: int = 1
    decode_ns: int = 0
    # What it runs with, itself included, while it does not run alone.
    companions: "Sequence[Job]" = field(default=(), repr=False)

    def give_up(self) -> None:
        """Nobody waits for it any more: its tensors are let go at once, and its run ends where it serves nobody else.

        The flag goes first: the thread looks at it after it has taken hold of what is let go here.
        """
        self.is_given_up = True
        self.request, self.raws, self.inference = None, (), None
        together = self.companions or (self,)
        if all(job.is_given_up for job in together):
            together[0].run.cancel()
