"""KServe v2 tensors as raw bytes, and numpy arrays over them without a copy where the layout allows it.

Raw bytes are little-endian and in row-major order; each element of BYTES is its length (uint32) and then itself.
BF16 has no numpy type: arrays of `ml_dtypes.bfloat16` are sent as they are, and what is received becomes float32.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelyard.datatypes import BY_NAME, DATATYPES
from modelyard.errors import InvalidArgumentError

Array = NDArray[Any]

# What numpy has a type for; BF16 and BYTES are told apart wherever arrays are made or read.
_DTYPES = {datatype.name: datatype.dtype for datatype in DATATYPES if datatype.name not in ("BF16", "BYTES")}
_DATATYPES = {dtype: datatype for datatype, dtype in _DTYPES.items()}
_RANKS = {"b": 0, "u": 1, "i": 1, "f": 2}  # of numpy kinds: each may become one of its own rank or a higher one
_LENGTH = struct.Struct("<I")


def datatype_of(array: Array) -> str:
    """The KServe v2 datatype of an array, such as "FP32". Raises InvalidArgumentError where there is none."""
    if array.dtype.kind in "OSU":
        return "BYTES"
    if array.dtype.name == "bfloat16":
        return "BF16"
    datatype = _DATATYPES.get(array.dtype.newbyteorder("<"))
    if datatype is None:
        raise InvalidArgumentError(f"numpy type {array.dtype} has no KServe v2 datatype; use {', '.join(_DTYPES)}")
    return datatype


def to_raw(array: Array) -> bytes | memoryview:
    """The raw bytes of an array: a view of its own memory where that is row-major and little-endian, else a copy."""
    if array.dtype.kind in "OSU":
        return _join_strings(array.ravel())
    if array.dtype.name == "bfloat16":
        array = array.view(np.uint16)
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return native.reshape(-1).view(np.uint8).data


def from_raw(datatype: str, shape: Sequence[int], raw: bytes) -> Array:
    """A read-only array over `raw`; BF16 (widened to float32) and BYTES (an object array of `bytes`) are copies.

    Raises InvalidArgumentError where the byte count does not fit the shape.
    """
    if datatype == "BYTES":
        return _object_array(_split_strings(raw), shape)
    dtype = BY_NAME["BF16"].dtype if datatype == "BF16" else _dtype(datatype)
    wanted = math.prod(shape) * dtype.itemsize
    if wanted != len(raw):
        raise InvalidArgumentError(f"{datatype} of shape {list(shape)} takes {wanted} bytes, not {len(raw)}")
    array = np.frombuffer(raw, dtype).reshape(shape)
    return _widen(array) if datatype == "BF16" else array


def from_values(datatype: str, shape: Sequence[int], values: ArrayLike) -> Array:
    """An array of plain Python values, as a server that does not send raw bytes gives them."""
    if datatype == "BYTES":
        return _object_array(list(values), shape)  # type: ignore[arg-type]
    return np.asarray(values, _dtype(datatype)).reshape(shape)


def convert(values: object, datatype: str) -> Array:
    """Python numbers, strings or nested lists as an array of `datatype`.

    Raises InvalidArgumentError where a value would change: 1.5 is no INT32, 300 no UINT8, 1 no BOOL.
    """
    try:
        if datatype == "BYTES":
            return np.asarray(values, np.object_)
        dtype = np.dtype(np.float32) if datatype == "BF16" else _dtype(datatype)
        natural = np.asarray(values)
        if natural.size and _RANKS.get(natural.dtype.kind, 3) > _RANKS[dtype.kind]:
            raise InvalidArgumentError(f"values of type {natural.dtype} cannot be made {datatype} without loss")
        array: Array = natural.astype(dtype)
        if dtype.kind in "ui" and not np.array_equal(array, natural):
            raise InvalidArgumentError(f"values between {natural.min()} and {natural.max()} do not fit {datatype}")
        return _bfloat16(array) if datatype == "BF16" else array
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError(f"cannot be made {datatype}: {error}") from error


def _dtype(datatype: str) -> np.dtype[Any]:
    if datatype not in _DTYPES:
        known = ", ".join([*_DTYPES, "BF16", "BYTES"])
        raise InvalidArgumentError(f"{datatype!r} is not a KServe v2 datatype: known are {known}")
    return _DTYPES[datatype]


def _widen(bits: Array) -> Array:
    """bfloat16 is the upper half of a float32."""
    return (bits.astype("<u4") << 16).view("<f4")


def _bfloat16(array: NDArray[np.float32]) -> Array:
    import ml_dtypes

    return array.astype(ml_dtypes.bfloat16)


def _join_strings(elements: Array) -> bytes:
    parts: list[bytes] = []
    for element in elements:
        data = element.encode() if isinstance(element, str) else element
        if not isinstance(data, bytes):
            raise InvalidArgumentError(f"an element of BYTES must be str or bytes, not {type(element).__name__}")
        parts += (_LENGTH.pack(len(data)), data)
    return b"".join(parts)


def _split_strings(raw: bytes) -> list[bytes]:
    elements: list[bytes] = []
    position = 0
    while position < len(raw):
        start = position + _LENGTH.size
        if start > len(raw):
            raise InvalidArgumentError("the last BYTES element is cut off")
        position = start + _LENGTH.unpack_from(raw, position)[0]
        if position > len(raw):
            raise InvalidArgumentError("the last BYTES element is cut off")
        elements.append(raw[start:position])
    return elements


def _object_array(elements: Sequence[bytes], shape: Sequence[int]) -> Array:
    if len(elements) != math.prod(shape):
        raise InvalidArgumentError(f"BYTES of shape {list(shape)} has {math.prod(shape)} elements, not {len(elements)}")
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(shape)
