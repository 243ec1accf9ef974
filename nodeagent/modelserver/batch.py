"""Several requests as one: their inputs stacked row on row, and the outputs taken apart again. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.tensors import Array
from nodeagent.modelserver.converters import Inference
from nodeagent.modelserver.signature import Signature

Feeds = dict[str, Array]
# What must be the same of requests that are merged: the outputs asked for, and all of each input's shape but the rows.
BatchKey = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]


@dataclass(frozen=True)
class BatchLimits:
    """`max_rows`: of one run; 1: requests are never merged. `max_wait_ns`: since the oldest of them arrived.

    `max_bytes`: of the inputs of a merged run, so that it takes no more memory than was tried; 0: any.
    """

    max_rows: int = 1
    max_wait_ns: int = 0
    max_bytes: int = 0

    def rows_like(self, feeds: Feeds) -> int:
        """The most rows of one run, where they are as large as those of `feeds`, which has some."""
        if not self.max_bytes:
            return self.max_rows
        rows = len(next(iter(feeds.values())))
        return min(self.max_rows, rows * self.max_bytes // max(1, size_bytes(feeds)))


def size_bytes(feeds: Feeds) -> int:
    return sum(array.nbytes for array in feeds.values())


NEVER_MERGED = BatchLimits()


def batch_key(signature: Signature, inference: Inference) -> BatchKey | None:
    """None where it must run alone: its inputs have not all the same number of rows, or none.

    The datatypes need no comparing: the signature fixes them.
    """
    shapes = [inference.feeds[spec.name].shape for spec in signature.inputs]
    rows = shapes[0][0]
    if not rows or any(shape[0] != rows for shape in shapes):
        return None
    return tuple(inference.output_names), tuple(shape[1:] for shape in shapes)


def merge(feeds: Sequence[Feeds]) -> Feeds:
    """The rows of all, in order. Each has the same inputs."""
    return {name: np.concatenate([one[name] for one in feeds]) for name in feeds[0]}


def split(outputs: Sequence[Array], rows: Sequence[int]) -> list[list[Array]]:
    """The outputs of each part, as views; `rows`: of each part, in order.

    Raises ValueError where an output has not as many rows as went in.
    """
    total = sum(rows)
    for output in outputs:
        if not output.ndim or len(output) != total:
            raise ValueError(f"an output of shape {list(output.shape)} came of {total} rows")
    parts, start = [], 0
    for count in rows:
        parts.append([output[start : start + count] for output in outputs])
        start += count
    return parts
