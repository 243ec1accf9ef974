"""What the numbers mean by which NVIDIA's driver reports errors of a GPU.

Source: NVIDIA, "XID Errors", https://docs.nvidia.com/deploy/xid-errors, the immediate actions of its catalogue (which
is of Ampere and newer): an error that only asks for the application to be started again leaves the GPU in service, as
does one that asks for nothing. One that asks for a reset takes it out, a context switch that did not end in time (109)
as well, which older lists blamed on the application. Of NVLink 5 (144 to 150) the number alone does not tell: the
driver names what has to be done as its recovery action (XID 154), which is read as well; see
`nodeagent.devices.gpu_health`.
"""

from dataclasses import dataclass
from enum import Enum


class Blame(Enum):
    APPLICATION = "application"
    """Of a process on the GPU, which is in order itself."""
    NOTICE = "notice"
    """Nothing that has to be done now."""
    GPU = "gpu"
    """It cannot be trusted before somebody did something."""


@dataclass(frozen=True)
class Xid:
    number: int
    meaning: str
    blame: Blame


# The agent's own connection to the driver keeps a GPU in use, and one in use is not reset.
_RESET = "stop the agent and reset the GPU (nvidia-smi --gpu-reset), or reboot the host"
DOUBLE_BIT_ERROR = 48

_APPLICATION = {
    8: "a channel stood idle for too long",
    11: "a process sent a corrupt stream of commands",
    13: "a kernel failed: it left the bounds of an array, or met an illegal instruction",
    25: "a process sent a stream of commands that is not allowed",
    31: "a process touched memory that is not its own",
    32: "a process sent a corrupt stream of commands",
    43: "the driver stopped a process after an error of its own",
    45: "the driver cleaned up after a process that had failed or was killed",
    60: "a process upset the security engine",
    68: "a video decoder failed under a process",
    69: "a process sent a command that the graphics engine does not know",
    80: "a stream of commands arrived damaged",
    94: "memory was damaged beyond correction, and the damage was kept to the processes that use it",
    **dict.fromkeys(
        [39, 40, 41, 70, 71, 72, 75, 76, 77, 85, *range(126, 136)], "copying memory failed under a process"
    ),
    **dict.fromkeys([82, 83, 84, 88, 89, *range(96, 106)], "a video or image engine failed under a process"),
    **dict.fromkeys([86, 139], "the optical flow engine failed under a process"),
}
_NOTICE = {
    14: "an error that was made up for a test",
    37: "its firmware does not know what the driver asked for",
    38: "its firmware was slow",
    44: "a kernel failed while another took its place",
    54: "extra power is not connected: it runs slower than it could",
    63: "a damaged row of memory will be replaced at the next reset",
    66: "a process was refused access to a register",
    67: "a process was refused by the front end",
    92: "many memory errors were corrected",
    93: "its information memory has been rewritten as often as it may be",
    106: "a test message",
    107: "a test message",
    108: "a process on another GPU used an address that is not valid here",
    121: "an error of the link to the CPU was corrected",
    137: "a process on another GPU used an address that is not valid here",
    141: "a fast path was left for a slow one",
    **dict.fromkeys(range(144, 151), "an error of NVLink"),
    **dict.fromkeys([152, 153], "its deep-learning accelerator failed"),
    154: "what the driver wants done about it has changed",
    157: "a damaged part could not be marked for replacement",
    160: "a memory channel will be repaired at the next reset",
    161: "a memory channel could not be marked for repair",
    **dict.fromkeys(range(162, 166), "what smooths its power has changed"),
    **dict.fromkeys([171, 172], "more of an error of its memory, which is told as XID 48"),
}
_GPU = {
    46: f"it stopped working; {_RESET}",
    DOUBLE_BIT_ERROR: f"its memory has an error that cannot be corrected (double-bit ECC); {_RESET}",
    62: f"its microcontroller has halted; {_RESET}",
    64: f"a damaged row of its memory could not be replaced; have it exchanged, or {_RESET}",
    74: f"its NVLink fails; look at its bridges, {_RESET}",
    79: "it has fallen off the bus; look at its slot and power supply, reboot the host",
    95: f"memory was damaged beyond correction under every process; {_RESET}",
    109: f"it did not get from one process to the next in time; {_RESET}",
    110: f"its security engine failed; {_RESET}",
    119: f"its own processor (GSP) does not answer; {_RESET}",
    120: f"its own processor (GSP) failed; {_RESET}",
    136: f"an NVLink could not be trained; {_RESET}",
    140: f"its memory has an error that cannot be corrected; {_RESET}",
    143: f"it could not be initialized; {_RESET}",
    151: "its encryption keys could not be exchanged; reboot the host",
    155: f"its NVLink fails; {_RESET}",
    156: f"a damaged part of it waits to be taken out of use; {_RESET}",
    158: f"it does not answer any more; {_RESET}",
}
_UNKNOWN = f"an error that is not known here; look it up in NVIDIA's list of XID errors, or {_RESET}"
_KNOWN = {
    number: Xid(number, meaning, blame)
    for blame, table in ((Blame.APPLICATION, _APPLICATION), (Blame.NOTICE, _NOTICE), (Blame.GPU, _GPU))
    for number, meaning in table.items()
}


def explain_xid(number: int) -> Xid:
    """One that is not known is the GPU's: the driver tells of those only that it takes for critical."""
    return _KNOWN.get(number) or Xid(number, _UNKNOWN, Blame.GPU)
