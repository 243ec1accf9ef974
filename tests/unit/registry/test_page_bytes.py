"""How many items go into one answer."""

from collections.abc import Iterator

import pytest

from controlplane.registry.page_bytes import PAGE_BYTES, count_bytes, cut_page
from tests.harness.records import make_draft


@pytest.mark.parametrize(
    ("sizes", "most", "kept"),
    [
        ([], 2, 0),
        ([1, 1], 2, 2),
        ([1, 1, 1], 2, 2),
        ([PAGE_BYTES - 1, 1], 2, 2),
        ([PAGE_BYTES - 1, 2], 2, 1),
        ([PAGE_BYTES + 1, 1], 2, 1),
        ([1, PAGE_BYTES, 1], 9, 1),
    ],
)
def test_a_page_ends_where_it_is_full(sizes: list[int], most: int, kept: int) -> None:
    assert cut_page(sizes, most, lambda size: size) == (sizes[:kept], kept < len(sizes))


def test_no_more_is_read_than_what_tells_that_there_is_more() -> None:
    read: list[int] = []

    def read_sizes() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield PAGE_BYTES // 3

    cut_page(read_sizes(), 100, lambda size: size)
    assert len(read) == 4


def test_texts_count_as_the_bytes_that_they_are_sent_in() -> None:
    small = make_draft(tags={"a": "b"}, parameters={"c": "d"})
    large = make_draft(tags={"a": "b" * 1001}, parameters={"c": "d" + "ß" * 1000 + "😀" * 1000})
    assert count_bytes(large) - count_bytes(small) == 1000 + 2000 + 4000
