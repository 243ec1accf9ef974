"""What was found out about a request's message, for the next ones that differ in nothing but their tensors.

A client sends the same names, types and shapes over and over. Parsing and checking them takes a small model longer
than computing does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from nodeagent.modelserver.converters import Layout
from nodeagent.modelserver.wire import Buffer, split_raw_contents

MOST_ANSWERS = 16  # to one kind of request
_MOST_KINDS = 64
_MOST_BYTES = 4096  # of a message without its tensors


@dataclass(slots=True, eq=False)
class Known:
    """A message that parsed, and how requests with it are decoded and answered once one was found to be right.

    `literals`: what lies between its tensors, and where. `answers`: by the outputs' shapes, ModelInferResponses without
    raw contents. Nobody may change these messages.
    """

    message: Any
    literals: Sequence[tuple[bytes, int]] = ()
    spans: Sequence[tuple[int, int]] = ()  # where its tensors begin and end
    layout: Layout | None = None
    rows: int = 1
    answers: dict[tuple[tuple[int, ...], ...], Any] = field(default_factory=dict)


class KnownRequests:
    def __init__(self, parse: Callable[[bytes], Any]) -> None:
        self._parse = parse
        self._by_length: dict[int, Known] = {}  # the last of that length

    def find(self, data: bytes) -> tuple[Known, Sequence[Buffer]]:
        """The message and its raw contents. Raises YardError where it does not parse."""
        known = self._by_length.get(len(data))
        if known is not None:
            for literal, start in known.literals:
                if not data.startswith(literal, start):
                    break
            else:
                view = memoryview(data)
                return known, [view[start:end] for start, end in known.spans]
        rest, raws, spans = split_raw_contents(data)
        known = Known(self._parse(rest))
        # Who numbers requests never sends the same again.
        if raws and len(rest) <= _MOST_BYTES and not known.message.id:
            known.spans, known.literals = spans, _between(data, spans)
            self._remember(len(data), known)
        return known, raws or known.message.raw_input_contents

    def _remember(self, length: int, known: Known) -> None:
        if len(self._by_length) >= _MOST_KINDS:
            del self._by_length[next(iter(self._by_length))]
        self._by_length[length] = known


def _between(data: bytes, spans: Sequence[tuple[int, int]]) -> list[tuple[bytes, int]]:
    edges = [(0, 0), *spans, (len(data), len(data))]
    return [(data[end:start], end) for (_, end), (start, _) in pairwise(edges) if end < start]
