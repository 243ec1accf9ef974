"""Bytes to arrays and back, in pairs: what one function of a pair makes, the other reads.

Raw tensors are little-endian in row-major order, as KServe v2 has them. Errors are ValueErrors that speak of the tensor
without naming it; the caller adds the name.

An element of BYTES takes many times its size as a Python string: nothing here holds one in two forms at once.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from modelyard.datatypes import Datatype
from modelyard.tensors import Array
from nodeagent.modelserver.wire import Buffer

_LENGTH = struct.Struct("<I")  # goes before each element of BYTES


def array_from_raw(datatype: Datatype, shape: Sequence[int], count: int, raw: Buffer) -> Array:
    """A read-only array over the memory of `raw`; BYTES become an array of `str`.

    What does not begin at a multiple of the size of an element is copied: onnxruntime counts on that.

    `count`: the product of `shape`, which the caller has checked for being a size at all.
    """
    if datatype.name == "BYTES":
        return _text_array(split_elements(raw, count), shape, count)
    wanted = count * datatype.dtype.itemsize
    if len(raw) != wanted:
        raise ValueError(f"{datatype.name} of shape {list(shape)} takes {wanted} bytes, got {len(raw)}")
    if datatype.name == "BOOL":
        _check_bools(raw)
    array = np.frombuffer(raw, datatype.dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()


def raw_from_array(datatype: Datatype, array: Array) -> Buffer:
    """The memory of a row-major array that onnxruntime gave; BYTES, which it gives as `str`, are copied."""
    if datatype.name == "BYTES":
        return join_elements(text.encode() for text in array.flat)
    return array.reshape(-1).view(np.uint8).data


def array_from_contents(datatype: Datatype, shape: Sequence[int], count: int, values: Sequence[Any]) -> Array:
    """An array of the values of a field of InferTensorContents. INT8 and its like travel as wider integers."""
    if len(values) != count:
        raise ValueError(f"shape {list(shape)} takes {count} values, got {len(values)}")
    if datatype.name == "BYTES":
        return _text_array(values, shape, count)
    # np.array would make a list of all values first.
    wide = np.fromiter(values, _WIDE.get(datatype.contents or "", datatype.dtype), count)
    if wide.dtype != datatype.dtype:
        _check_range(datatype, wide)
    return wide.astype(datatype.dtype, copy=False).reshape(shape)


_WIDE = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}


def split_elements(raw: Buffer, count: int) -> Iterator[Buffer]:
    """The `count` elements of a BYTES tensor, one after the other, as parts of `raw`."""
    if len(raw) < _LENGTH.size * count:  # before any work: a shape may claim billions
        raise ValueError(f"{count} BYTES elements take at least {_LENGTH.size * count} bytes, got {len(raw)}")
    position, end = 0, len(raw)
    for index in range(count):
        start = position + _LENGTH.size
        position = start + _LENGTH.unpack_from(raw, position)[0] if start <= end else end + 1
        if position > end:
            raise ValueError(f"BYTES element {index} of {count} reaches beyond the {end} bytes that were sent")
        yield raw[start:position]
    if position != end:
        raise ValueError(f"{end - position} bytes are left over after {count} BYTES elements")


def join_elements(elements: Iterable[bytes]) -> Buffer:
    """The raw form of a BYTES tensor: each element after its length."""
    joined = bytearray()
    for element in elements:
        joined += _LENGTH.pack(len(element))
        joined += element
    return memoryview(joined)


def _text_array(elements: Iterable[Buffer], shape: Sequence[int], count: int) -> Array:
    # onnxruntime's strings are UTF-8; through Python it takes nothing else.
    texts = np.empty(count, np.object_)
    for index, element in enumerate(elements):
        try:
            texts[index] = str(element, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"BYTES element {index} is not UTF-8 text, which is what ONNX strings are") from error
    return texts.reshape(shape)


def _check_bools(raw: Buffer) -> None:
    if raw and (worst := int(np.frombuffer(raw, np.uint8).max())) > 1:
        raise ValueError(f"BOOL takes a byte of 0 or 1 for each element, got {worst}")


def _check_range(datatype: Datatype, wide: Array) -> None:
    limits = np.iinfo(datatype.dtype)
    if wide.size and not limits.min <= wide.min() <= wide.max() <= limits.max:
        worst = wide.min() if wide.min() < limits.min else wide.max()
        raise ValueError(f"{datatype.name} takes {limits.min} to {limits.max}, got {worst}")
