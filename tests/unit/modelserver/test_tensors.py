"""What one function of a pair makes, the other reads; and what is malformed is told."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelyard.datatypes import BY_NAME, DATATYPES, Datatype
from modelyard.tensors import Array
from nodeagent.modelserver.tensors import (
    array_from_contents,
    array_from_raw,
    join_elements,
    raw_from_array,
    split_elements,
)
from nodeagent.modelserver.wire import Buffer

NUMERIC = [datatype for datatype in DATATYPES if datatype.name != "BYTES"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def read_raw(datatype: Datatype, shape: tuple[int, ...], raw: Buffer) -> Array:
    return array_from_raw(datatype, shape, math.prod(shape), raw)


@given(st.data())
def test_numbers_come_back_bit_for_bit(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(NUMERIC))
    array = data.draw(hnp.arrays(datatype.dtype, SHAPES))
    back = read_raw(datatype, array.shape, raw_from_array(datatype, array))
    assert back.dtype == array.dtype and back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(st.data())
def test_texts_come_back(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    count = math.prod(shape)
    texts = data.draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=count, max_size=count))
    array = np.empty(count, np.object_)
    array[:] = texts
    back = read_raw(BY_NAME["BYTES"], shape, raw_from_array(BY_NAME["BYTES"], array.reshape(shape)))
    assert back.shape == shape and back.ravel().tolist() == texts


@given(st.lists(st.binary()))
def test_elements_come_back(elements: list[bytes]) -> None:
    assert list(split_elements(join_elements(elements), len(elements))) == elements


@given(st.binary(max_size=40), st.integers(0, 12))
def test_any_bytes_are_split_whole_or_refused(raw: bytes, count: int) -> None:
    try:
        elements = list(map(bytes, split_elements(raw, count)))
    except ValueError:
        return
    assert len(elements) == count and join_elements(elements) == raw


def test_numbers_are_a_view_of_the_bytes() -> None:
    raw = np.arange(6, dtype=np.float32).tobytes()
    array = read_raw(BY_NAME["FP32"], (2, 3), raw)
    assert np.shares_memory(array, np.frombuffer(raw, np.uint8))
    assert not array.flags.writeable


def test_numbers_at_any_place_are_read() -> None:
    wanted = np.arange(6, dtype=np.float64)
    for offset in range(16):
        raw = memoryview(bytes(offset) + wanted.tobytes())[offset:]
        array = read_raw(BY_NAME["FP64"], (6,), raw)
        assert array.flags.aligned and array.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("raw", "count", "text"),
    [
        (b"\x01\0\0\0", 1, "element 0 of 1 reaches beyond"),
        (b"\xff\xff\xff\xff", 1, "reaches beyond"),
        (b"\0\0\0\0\0\0\0\0", 1, "4 bytes are left over"),
        (b"\x02\0\0\0ab\0\0", 2, "at least 8|reaches beyond"),
        (b"\0\0\0\0", 2**40, "at least 4398046511104 bytes, got 4"),
        (b"", 1, "at least 4 bytes, got 0"),
    ],
)
def test_malformed_strings_are_refused(raw: bytes, count: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        list(split_elements(raw, count))


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValueError, match="element 1 is not UTF-8"):
        read_raw(BY_NAME["BYTES"], (2,), join_elements([b"ok", b"\xff"]))


def test_a_wrong_byte_count_is_told() -> None:
    with pytest.raises(ValueError, match=r"INT64 of shape \[2, 3\] takes 48 bytes, got 47"):
        read_raw(BY_NAME["INT64"], (2, 3), bytes(47))


def test_a_bool_is_a_byte_of_0_or_1() -> None:
    assert read_raw(BY_NAME["BOOL"], (2,), b"\0\1").tolist() == [False, True]
    with pytest.raises(ValueError, match=r"0 or 1 .* got 7"):
        read_raw(BY_NAME["BOOL"], (2,), b"\1\7")


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("BOOL", [True, False], [True, False]),
        ("INT8", [-128, 127], [-128, 127]),
        ("UINT16", [0, 65535], [0, 65535]),
        ("INT32", [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]),
        ("UINT64", [0, 2**64 - 1], [0, 2**64 - 1]),
        ("FP64", [0.1, -1e300], [0.1, -1e300]),
        ("BYTES", ["é".encode(), b""], ["é", ""]),
    ],
)
def test_typed_contents(name: str, values: list[Any], wanted: list[Any]) -> None:
    array = array_from_contents(BY_NAME[name], (2, 1), 2, values)
    assert array.dtype == BY_NAME[name].dtype and array.shape == (2, 1)
    assert array.ravel().tolist() == wanted


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("INT8", 128, "INT8 takes -128 to 127, got 128"),
        ("INT16", -32769, "INT16 takes -32768 to 32767, got -32769"),
        ("UINT8", 256, "UINT8 takes 0 to 255, got 256"),
    ],
)
def test_contents_out_of_range_are_refused(name: str, value: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        array_from_contents(BY_NAME[name], (2,), 2, [0, value])


def test_contents_must_fill_the_shape() -> None:
    with pytest.raises(ValueError, match=r"shape \[3\] takes 3 values, got 2"):
        array_from_contents(BY_NAME["FP32"], (3,), 3, [1.0, 2.0])
