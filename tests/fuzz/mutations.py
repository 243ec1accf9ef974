"""Small changes to a good file, as damage and attackers make them. The same ones for the same seed."""

from collections.abc import Callable, Sequence
from random import Random

_LARGE = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def mutate(chance: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, changed once to five times."""
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 5)):
        chance.choice(_CHANGES)(chance, content, seeds)
    return bytes(content)


def _place(chance: Random, content: bytearray) -> int:
    """Mostly near one of the ends, where headers are."""
    if not content:
        return 0
    near = min(len(content), 600)
    return chance.choice(
        (chance.randrange(len(content)), chance.randrange(near), len(content) - 1 - chance.randrange(near))
    )


def _flip_bit(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    if content:
        content[_place(chance, content)] ^= 1 << chance.randrange(8)


def _set_byte(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    if content:
        content[_place(chance, content)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def _cut(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    del content[_place(chance, content) :]


def _remove(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    start = _place(chance, content)
    del content[start : start + chance.randint(1, 64)]


def _repeat(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    start = _place(chance, content)
    content[start:start] = content[start : start + chance.randint(1, 600)] * chance.randint(1, 4)


def _splice(chance: Random, content: bytearray, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    content[_place(chance, content) :] = other[_place(chance, bytearray(other)) :]


def _noise(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    start = _place(chance, content)
    content[start : start + chance.randint(0, 32)] = chance.randbytes(chance.randint(1, 32))


def _lie_in_binary(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    """A length or an offset, as zip and plans have them."""
    size, start = chance.choice((2, 4, 8)), _place(chance, content)
    value = chance.choice((*_LARGE, len(content), chance.randrange(1 << 20))) % (1 << 8 * size)
    content[start : start + size] = value.to_bytes(size, "little")


def _lie_in_a_varint(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    """A length, as protobuf has them."""
    start = _place(chance, content)
    content[start : start + 1] = chance.choice(
        (b"\x7f", b"\xff\x7f", b"\xff\xff\xff\xff\x07", b"\xff" * 9 + b"\x01", b"\xff" * 11)
    )


def _lie_in_octal(chance: Random, content: bytearray, _: Sequence[bytes]) -> None:
    """A size in a tar's header, whose checksum is made to fit again."""
    start = 512 * chance.randrange(len(content) // 512) if len(content) >= 512 else 0
    header = content[start : start + 512]
    if len(header) < 512:
        return
    header[124:136] = chance.choice(
        (b"%011o\0" % chance.randrange(1 << 33), b"\x80" + bytes(3) + chance.randbytes(8), b"\xff" * 12)
    )
    header[156] = chance.choice(b"0125xgLKS7")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content[start : start + 512] = header


_CHANGES: tuple[Callable[[Random, bytearray, Sequence[bytes]], None], ...] = (
    _flip_bit,
    _set_byte,
    _cut,
    _remove,
    _repeat,
    _splice,
    _noise,
    _lie_in_binary,
    _lie_in_a_varint,
    _lie_in_octal,
)
