"""How nodes are written for people."""

import pytest

from modelyard.cli.node_tables import describe_ranges


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "3"), ([1, 0], "0-1"), ([8, 0, 1, 2, 5], "0-2, 5, 8"), ([2, 4, 5], "2, 4-5")]
)
def test_numbers_in_a_row_become_ranges(numbers: list[int], text: str) -> None:
    assert describe_ranges(numbers) == text
