"""How the C library keeps memory."""

import ctypes
import sys

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2


def limit_arenas() -> None:
    """Lets glibc keep freed memory in two arenas, instead of eight for each core; to be called before threads are made.

    Blocks of files pass from thread to thread on their way through. Each arena keeps some of what was freed in it, and
    with many of them the process holds twice the memory that is in use.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):  # musl has none
        mallopt(_M_ARENA_MAX, _ARENAS)
