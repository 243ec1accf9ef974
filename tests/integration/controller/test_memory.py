"""How much of what was freed the controller holds on to."""

import asyncio
import platform
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.controller.yard import ControllerUnderTest

_HEAP_BYTES = 64 << 20  # glibc's HEAP_MAX_SIZE


def count_arenas(pid: int) -> int:
    """glibc's, beside the main one: each is reserved whole, at a multiple of its size, and is in use up to somewhere.

    What has neighbours that the kernel shows as one with it is left out, so there may be more, and not fewer.
    """
    spans = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, access, *_ = line.split()
        start, end = (int(address, 16) for address in addresses.split("-"))
        spans.append((start, end, access[:2]))
    return sum(
        access == "rw" and reserved == "--" and start % _HEAP_BYTES == 0 and end == next_start
        for (start, end, access), (next_start, next_end, reserved) in pairwise(spans)
        if next_end >= start + _HEAP_BYTES
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
async def test_its_threads_share_two_arenas(controller: ControllerUnderTest) -> None:
    async with controller.connect() as yard:
        # Files pass through several threads at once, each of which would have an arena of its own.
        await asyncio.gather(*(yard.register(f"m{place}", float(place)) for place in range(1, 4)))
        assert await asyncio.to_thread(count_arenas, controller.program.pid) == 1
