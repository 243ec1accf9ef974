"""Numbers of bytes as people read them."""

import pytest

from modelyard.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1 << 30, "1 GiB"),
        (277_977_702, "265.1 MiB"),
        (5 << 60, "5 EiB"),
    ],
)
def test_sizes_are_told_in_powers_of_1024(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize("text", ["9" * 400, "9999999T", str(2**63)])
def test_what_no_message_can_tell_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more bytes than there are anywhere"):
        parse_size(text)
