"""Inputs to try a model with: those of its sample file, zeros, and rows that are not like the first."""

import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from modelyard.errors import InvalidArgumentError
from modelyard.tensors import Array
from nodeagent.modelserver.batch import Feeds
from nodeagent.modelserver.signature import Signature, TensorSpec

_GOLDEN_RATIO = 0.6180339887498949  # the fractional parts of its multiples lie evenly, and never twice the same
_SIZES = (
    64,
    16,
    4,
)  # to try where a dimension may be of any size; nearly all models of images and texts take the first
_MOST_ELEMENTS = 1 << 20
_DAMAGED = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


def zeros(signature: Signature) -> Feeds:
    return {spec.name: spec.zeros() for spec in signature.inputs}


def load_sample(file: Path, signature: Signature) -> Feeds:
    """The arrays of an .npz file, one for each input; texts may be NumPy's bytes or text, BF16 comes as its 16 bits.

    Raises InvalidArgumentError where the file cannot be read or does not fit.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {spec.name: _fit(spec, arrays[spec.name]) for spec in signature.inputs}
    except _DAMAGED as error:
        raise InvalidArgumentError(f"the sample cannot be read: {error}") from error


def _fit(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype.name == "BYTES" and array.dtype.kind in "SU":
        array = (np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array).astype(np.object_)
    if array.dtype != spec.datatype.dtype or not spec.accepts(array.shape):
        raise InvalidArgumentError(
            f"the sample's {spec.name!r} is {array.dtype} {list(array.shape)}, which is no {spec.datatype.name}"
            f" {list(spec.shape)}"
        )
    return np.ascontiguousarray(array).reshape(array.shape)


def count_rows(feeds: Feeds) -> int:
    """0 where the inputs have no row, or not the same number of them."""
    counts = {array.shape[:1] for array in feeds.values()}
    return min(counts)[0] if len(counts) == 1 and () not in counts else 0


def first_row(feeds: Feeds) -> Feeds:
    return {name: array[:1] for name, array in feeds.items()}


def enlarge(signature: Signature, row: Feeds) -> Feeds:
    """The row as requests may send it: where all dimensions of an input that vary beside the batch are 1, more of them.

    They are 1 in a sample that was made of the signature alone.
    """
    return {spec.name: _enlarge(spec, row[spec.name]) for spec in signature.inputs}


def _enlarge(spec: TensorSpec, array: Array) -> Array:
    varies = [declared == -1 for declared in spec.shape[1:]]
    if {size for size, does in zip(array.shape[1:], varies, strict=True) if does} != {1}:
        return array
    for wanted in _SIZES:
        shape = [1, *(wanted if does else size for size, does in zip(array.shape[1:], varies, strict=True))]
        if math.prod(shape) <= _MOST_ELEMENTS:
            break
    return np.ascontiguousarray(np.broadcast_to(array, shape))


def other_rows(signature: Signature, feeds: Feeds) -> Iterator[Feeds]:
    """Single rows that differ from the first of `feeds`, and from each other.

    A second row of its own; numbers that are scattered, and that are faint and strong, next to each other, for what
    mixes rows may depend on the largest of them; and the first with each number a step beside, for whole numbers are
    often indices, and a model may know none beyond the first few.
    """
    if len(next(iter(feeds.values()))) > 1:
        yield {name: array[1:2] for name, array in feeds.items()}
    for change in (_scattered, _faint, _strong, _step_beside):
        yield {spec.name: _changed(spec, feeds[spec.name][:1], change) for spec in signature.inputs}


def _changed(spec: TensorSpec, array: Array, change: Callable[[Array], Array]) -> Array:
    if spec.datatype.name == "BYTES":
        return np.where(array == "", "a", "").astype(np.object_)
    if spec.datatype.name == "BF16":
        return (change(_widen(array)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return change(array)


def _scattered(array: Array) -> Array:
    """Floats in [-2, 2), whole numbers below 100."""
    return _spread(array, 2, 100)


def _faint(array: Array) -> Array:
    """Floats in [-0.02, 0.02), zeros and ones."""
    return _spread(array, 0.02, 2)


def _strong(array: Array) -> Array:
    """Floats in [-200, 200), whole numbers as large as fit into all types."""
    return _spread(array, 200, 127)


def _spread(array: Array, width: float, count: int) -> Array:
    """numpy.random is not imported for that: it would take 5 ms."""
    if array.dtype.kind == "b":
        return np.logical_not(array)
    parts = (np.arange(1, array.size + 1) * _GOLDEN_RATIO % 1).reshape(array.shape)
    return np.asarray((parts * 2 - 1) * width if array.dtype.kind == "f" else parts * count).astype(array.dtype)


def _step_beside(array: Array) -> Array:
    if array.dtype.kind == "b":
        return np.logical_not(array)
    return np.asarray(np.where(array > 0, array - array.dtype.type(1), array + array.dtype.type(1)))


def _widen(bits: Array) -> Array:
    """BF16 is the upper half of a 32-bit float."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_numbers(datatype: str, array: Array) -> Array:
    """An output so that it can be compared as numbers: BF16 is kept as its bits."""
    return _widen(array) if datatype == "BF16" else array
