"""In which shares a GPU is given away. Pure, but for looking for NVIDIA's program."""

import shutil
from typing import Protocol

from nodeagent.devices.mps_control import PROGRAM

WHOLE = 100
_USUAL = (WHOLE, 50, 25)
# Before Volta, MPS has neither a limit of multiprocessors for a process nor memory of its own for it.
_NEEDED_CAPABILITY = (7, 0)


class SharedGpu(Protocol):
    @property
    def compute_capability(self) -> str: ...

    @property
    def parent_uuid(self) -> str:
        """Of a MIG device only."""


class ShareSettings(Protocol):
    @property
    def gpu_shares(self) -> str: ...

    @property
    def mps_on_mig(self) -> bool: ...


def parse_shares(text: str) -> tuple[int, ...]:
    """The shares of "75,10", in percent. Raises ValueError that says what is wanted."""
    shares = [part.strip() for part in text.split(",") if part.strip()]
    if not all(share.isdecimal() and 0 < int(share) <= WHOLE for share in shares):
        raise ValueError(f"{text!r} are no shares of a GPU: wanted whole percents from 1 to {WHOLE}, as in 75,10")
    return tuple(int(share) for share in shares)


def find_mps_reason() -> str:
    """Why no GPU of this host can be shared, as far as that can be seen without trying; "" where they can be."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not on the PATH of the agent: install it with NVIDIA's driver"
    return ""


def offered_shares(gpu: SharedGpu, settings: ShareSettings, mps_reason: str) -> tuple[tuple[int, ...], str]:
    """In percent, the largest first, and why it is given away whole only ("": it is not).

    `mps_reason`: why MPS is not to be had on it, in a sentence; "" where it is.
    """
    if reason := mps_reason or _why_whole(gpu, settings):
        return (WHOLE,), reason
    return tuple(sorted({*_USUAL, *parse_shares(settings.gpu_shares)}, reverse=True)), ""


def _why_whole(gpu: SharedGpu, settings: ShareSettings) -> str:
    if gpu.parent_uuid and not settings.mps_on_mig:
        return "it is a MIG device; the agent's setting --mps-on-mig shares it all the same"
    if (capability := _parse_capability(gpu.compute_capability)) is None:
        return "its driver does not tell its compute capability"
    if capability < _NEEDED_CAPABILITY:
        return f"its compute capability is {gpu.compute_capability}, and shares need 7.0 (Volta) or newer"
    return ""


def _parse_capability(text: str) -> tuple[int, int] | None:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None
