"""Numbers as protobuf writes them, for messages that are put together by hand where protobuf would copy too much."""


def encode_varint(number: int) -> bytes:
    """Seven bits of `number` (0 or more) in each byte, the lowest first; the high bit says that more follow.

    See https://protobuf.dev/programming-guides/encoding.
    """
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
