"""Arrays become raw bytes and come back the same, without a copy where there need be none."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard import tensors
from modelyard.errors import InvalidArgumentError

DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


def round_trip(array: tensors.Array) -> tensors.Array:
    return tensors.from_raw(tensors.datatype_of(array), array.shape, bytes(tensors.to_raw(array)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4)])
def test_numbers_come_back_as_they_were(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype="i8").reshape(shape).astype(dtype)
    back = round_trip(array)
    assert back.dtype == array.dtype and back.shape == shape
    np.testing.assert_array_equal(back, array)


def test_a_row_major_array_is_not_copied_either_way() -> None:
    array = np.arange(6, dtype=np.float32)
    assert np.shares_memory(np.frombuffer(tensors.to_raw(array), np.float32), array)
    raw = array.tobytes()
    assert np.shares_memory(tensors.from_raw("FP32", [2, 3], raw), np.frombuffer(raw, np.uint8))


@pytest.mark.parametrize("array", [np.arange(6, dtype=">i4"), np.arange(12, dtype="i4").reshape(3, 4).T[::2]])
def test_other_layouts_are_copied_into_the_wire_s(array: tensors.Array) -> None:
    np.testing.assert_array_equal(round_trip(array), array)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_bytes_come_back_as_they_were(elements: list[bytes]) -> None:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    assert list(round_trip(array)) == elements


def test_strings_are_sent_as_utf_8() -> None:
    assert round_trip(np.array([["é", "b"]])).tolist() == [["é".encode(), b"b"]]


def test_bfloat16_is_sent_as_it_is_and_comes_back_as_float32() -> None:
    array = np.array([[1.5, -2.0], [np.inf, 0.1]], ml_dtypes.bfloat16)
    assert tensors.datatype_of(array) == "BF16" and bytes(tensors.to_raw(array)) == array.tobytes()
    back = round_trip(array)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, array.astype(np.float32))


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "words"),
    [
        ("FP32", [2], b"1234567", "takes 8 bytes, not 7"),
        ("BYTES", [1], b"\x05\0\0\0abc", "cut off"),
        ("BYTES", [1], b"\x05\0", "cut off"),
        ("BYTES", [2], b"\x01\0\0\0a", "has 2 elements, not 1"),
        ("FP8", [1], b"a", "not a KServe v2 datatype"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(datatype: str, shape: list[int], raw: bytes, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        tensors.from_raw(datatype, shape, raw)


@pytest.mark.parametrize(
    ("values", "datatype", "expected"),
    [
        ([[1.0, 2]], "FP32", np.array([[1, 2]], np.float32)),
        (3, "INT64", np.array(3, np.int64)),
        ([True, 1], "UINT8", np.array([1, 1], np.uint8)),
        ([], "INT32", np.array([], np.int32)),
        ([False], "BOOL", np.array([False])),
        ([1, 2], "BF16", np.array([1, 2], ml_dtypes.bfloat16)),
    ],
)
def test_python_values_become_the_declared_type(values: Any, datatype: str, expected: tensors.Array) -> None:
    array = tensors.convert(values, datatype)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("values", "datatype"),
    [([1.5], "INT32"), ([300], "UINT8"), ([-1], "UINT64"), ([1], "BOOL"), (["a"], "FP32"), ([[1], [1, 2]], "FP32")],
)
def test_values_that_would_change_are_refused(values: Any, datatype: str) -> None:
    with pytest.raises(InvalidArgumentError):
        tensors.convert(values, datatype)


def test_what_has_no_datatype_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="complex64"):
        tensors.datatype_of(np.zeros(1, np.complex64))
    with pytest.raises(InvalidArgumentError, match="not list"):
        tensors.to_raw(tensors.convert([["a"], ["b", "c"]], "BYTES"))
