"""Whether the rows of a batch leave each other alone, which merging requests depends on: tried out, never assumed."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from modelyard.errors import YardError
from modelyard.tensors import Array
from nodeagent.modelserver.batch import Feeds, merge, split
from nodeagent.modelserver.sample import as_numbers
from nodeagent.modelserver.signature import Signature

Compute = Callable[[Feeds], list[Array]]  # all outputs, in the order of the signature


# Of the largest number in an output, and of each by itself: what differs no more is the same but for rounding.
_Tolerance = tuple[float, float]
# Other numbers of rows are computed by other kernels, which round otherwise, and a model may make much of that.
_OTHER_KERNELS: _Tolerance = (5e-2, 0.0)
# At another place in the same run.
_OTHER_PLACE: dict[str, _Tolerance] = {"FP64": (1e-7, 0), "FP32": (1e-3, 0), "FP16": (2e-2, 0), "BF16": (5e-2, 0)}
# With other companions at the same place: the same kernels round alike. Of the largest next to nothing, lest a score
# beside coordinates of some hundred change unseen.
_OTHER_COMPANY: dict[str, _Tolerance] = {
    "FP64": (1e-10, 1e-9),
    "FP32": (1e-6, 1e-5),
    "FP16": (2e-5, 1e-3),
    "BF16": (5e-5, 1e-2),
}


def why_dependent(compute: Compute, signature: Signature, first: Feeds, others: Iterable[Feeds]) -> str:
    """Why requests may not be merged, as a clause; "" where nothing speaks against it.

    Each row is computed alone, beside itself, before one other and behind another, and must get the same answer each
    time. `others`: rows to try beside `first`; those that the model does not compute are left out. Raises YardError
    where it does not compute even `first`.
    """
    trial = _Trial(compute, signature)
    rows, alone = [first], [compute(first)]
    if not trial.are_same(alone[0], compute(first)):
        return "it does not answer the same input alike each time"
    for other in others:
        try:
            answer = compute(other)
        except YardError:
            continue
        rows.append(other)
        alone.append(answer)
    try:
        if trial.influenced(rows, alone):
            return "a row gets another answer when others are computed with it"
    except (YardError, ValueError) as error:
        return f"it cannot compute several rows at once ({error})"
    # A model that answers the same whatever it is asked shows no influence either.
    if all(trial.are_alike(alone[0], answer) for answer in alone[1:]):
        return "no two inputs were found that it answers differently, so nothing shows that its rows are independent"
    return ""


class _Trial:
    """Of one model."""

    def __init__(self, compute: Compute, signature: Signature) -> None:
        self._compute = compute
        self._datatypes = [spec.datatype.name for spec in signature.outputs]

    def influenced(self, rows: Sequence[Feeds], alone: Sequence[list[Array]]) -> bool:
        """`alone`: the rows' answers. Raises YardError and ValueError where it does not compute several at once."""
        beside_itself = [self._together(row, row) for row in rows]
        for one, (first, second) in zip(alone, beside_itself, strict=True):
            if not (self._are_close(one, first) and self.are_alike(first, second)):
                return True
        if not all(map(self._are_close, alone, self._together(*rows))):
            return True
        for left in range(len(rows)):
            right = (left + 1) % len(rows)
            before, behind = self._together(rows[left], rows[right])
            if not (self.are_same(beside_itself[left][0], before) and self.are_same(beside_itself[right][1], behind)):
                return True
        return False

    def are_same(self, left: Sequence[Array], right: Sequence[Array]) -> bool:
        """As answers of runs of the same number of rows, at the same place, are."""
        return self._compare(left, right, _OTHER_COMPANY)

    def are_alike(self, left: Sequence[Array], right: Sequence[Array]) -> bool:
        """As answers of runs of the same number of rows are."""
        return self._compare(left, right, _OTHER_PLACE)

    def _are_close(self, left: Sequence[Array], right: Sequence[Array]) -> bool:
        """But for what another number of rows explains."""
        return self._compare(left, right, dict.fromkeys(_OTHER_PLACE, _OTHER_KERNELS))

    def _compare(self, left: Sequence[Array], right: Sequence[Array], tolerance: dict[str, _Tolerance]) -> bool:
        return all(
            _differ_little(datatype, one, other, tolerance.get(datatype))
            for datatype, one, other in zip(self._datatypes, left, right, strict=True)
        )

    def _together(self, *rows: Feeds) -> list[list[Array]]:
        return split(self._compute(merge(rows)), [1] * len(rows))


def _differ_little(datatype: str, left: Array, right: Array, tolerance: _Tolerance | None) -> bool:
    """`tolerance`: None where the datatype leaves no room for rounding."""
    if left.shape != right.shape:
        return False
    if tolerance is None:
        return bool(np.array_equal(left, right))
    left, right = (as_numbers(datatype, array).astype(np.float64) for array in (left, right))
    finite = np.abs(left[np.isfinite(left)])
    largest = float(finite.max()) if finite.size else 0.0
    of_largest, of_each = tolerance
    return bool(np.allclose(right, left, rtol=of_each, atol=of_largest * largest, equal_nan=True))
