"""Why a model server ended, in a sentence that says what to do about it. Pure."""

import re
import signal
from dataclasses import dataclass

from modelyard.logs import strip_prefix

_MOST_LINES = 5
_LONGEST_LAST, _LONGEST_BEFORE = 300, 120  # characters: all of it is read in one cell of a table
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What is looked at for a cause: what came long before the end was survived.
_LINES_OF_THE_END = 40
# Of this project, of Triton (glog), of onnxruntime: what a server only warns of does not end it. Triton, for one, warns
# of a missing GPU driver at each start on a host without GPUs.
_WARNING = re.compile(r"\S+Z WARNING |W\d{4} |.*\[W:onnxruntime")


@dataclass(frozen=True)
class Ending:
    """What is known of a server that has ended.

    `code`: its exit code, minus the number of the signal that ended it; None where it was not this agent's child.
    `oom_kills`: how many of its processes the kernel ended for want of memory; 0 also where nobody counts.
    `explained`: its runtime's word for it, "" where that knows none.
    """

    code: int | None
    log_tail: str
    is_killed_by_agent: bool = False
    oom_kills: int = 0
    explained: str = ""


def describe_ending(ending: Ending) -> str:
    """The cause where there is one to be seen, how it ended, and the last lines that it said."""
    how = _tell_how(ending.code)
    if words := last_words(ending.log_tail):
        how = f"{how}: {words}"
    cause = _find_cause(ending)
    return f"{cause} ({how})" if cause else how


def last_words(log_tail: str) -> str:
    """The last few lines that say something, in one; of a long one the beginning.

    The very last comes first: it says the most, and a table may have no room for all.
    """
    lines = [strip_prefix(_make_plain(line)) for line in log_tail.splitlines() if line.strip(" \t~^")]
    *before, last = lines[-_MOST_LINES:] or [""]
    last = _cut(last, _LONGEST_LAST)
    return f"{last} [before that: {' | '.join(_cut(line, _LONGEST_BEFORE) for line in before)}]" if before else last


def _make_plain(line: str) -> str:
    """Without colours, and with nothing in it that could steer a terminal."""
    plain = _COLOUR.sub("", line).strip()
    return "".join(character if character.isprintable() else "?" for character in plain)


def _cut(line: str, longest: int) -> str:
    return line if len(line) <= longest else f"{line[:longest]}..."


def _tell_how(code: int | None) -> str:
    if code is None:
        return "its process ended"
    if code >= 0:
        return f"its process ended with code {code}"
    return f"its process was killed by {_name_signal(-code)}"


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _find_cause(ending: Ending) -> str:
    if ending.is_killed_by_agent:
        return ""
    if ending.oom_kills:
        return _OUT_OF_MEMORY
    if ending.code == -signal.SIGKILL:
        return _KILLED
    if ending.explained:
        return _make_plain(ending.explained)
    return _read_cause(ending.log_tail) or _SIGNALS.get(-(ending.code or 0), "")


def _read_cause(log_tail: str) -> str:
    lines = [_make_plain(line) for line in log_tail.splitlines()[-_LINES_OF_THE_END:]]
    text = "\n".join(line for line in lines if not _WARNING.match(line))
    for pattern, cause in _CAUSES:
        if found := pattern.search(text):
            return cause.format(*found.groups())
    return ""


_OUT_OF_MEMORY = (
    "it needed more memory than it was given, and the kernel ended it for that: deploy it with more --memory"
)
_KILLED = (
    "something other than this agent killed it; the kernel does so when the host's memory runs out, and says so in"
    " `dmesg`: deploy it with more --memory, or fewer replicas here"
)
_SIGNALS = {
    int(signal.SIGILL): "its libraries use an instruction that this CPU lacks: run it on a newer one",
    int(signal.SIGBUS): "a file that it had mapped was cut off, or the disk behind /dev/shm is full: look at `df`",
}

# In this order: the first that fits is told, so what is particular comes before what is general.
_CAUSES = tuple(
    (re.compile(pattern, flags), cause)
    for pattern, flags, cause in (
        (
            r"([\w.+-]+\.so[\w.]*): cannot open shared object file",
            0,
            "the library {0} is missing on this host: install the package that has it, or name its folder in"
            " LD_LIBRARY_PATH when the agent is started",
        ),
        (
            r"version `(\w+_[\d.]+)' not found",
            0,
            "the system libraries of this host are too old, {0} is missing: it takes a newer distribution, or packages"
            " that were built for this one",
        ),
        (
            r"undefined symbol: (\w+)",
            0,
            "two of its libraries do not fit together, {0} is missing: install the versions that the lock file names",
        ),
        (
            r"No module named '([\w.]+)'",
            0,
            "the Python package {0} is missing: install this project with its extra `agent` on this host",
        ),
        (
            r"^ImportError: (.{1,200})",
            re.MULTILINE,
            "a Python package cannot be imported, {0}: install this project with its extra `agent` again",
        ),
        (
            r"Address already in use|Socket '[^']*' already in use|another program holds the port",
            re.IGNORECASE,
            "another program has taken the port that it was to listen on: it is started again, on another where the"
            " agent chooses it",
        ),
        (
            r"MPS client failed to connect|CUDA_ERROR_MPS_\w+|cudaErrorMps\w+",
            0,
            "it cannot reach the MPS daemon of its GPU: see what the agent's log says of that daemon",
        ),
        (
            r"CUDA failure 2: out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory|CUDA error: out of memory"
            r"|Cuda Error in \w+: 2 |cudaErrorMemoryAllocation|CU\w+_STATUS_ALLOC_FAILED",
            0,
            "the memory of its GPU ran out: deploy it with more --gpu-memory, or with fewer replicas to a GPU",
        ),
        (
            r"CUDA driver version is insufficient|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|cudaErrorInsufficientDriver",
            0,
            "the NVIDIA driver of this host is older than its CUDA libraries want: install a newer driver",
        ),
        (
            r"no CUDA-capable device is detected|CUDA_ERROR_NO_DEVICE|cudaErrorNoDevice|invalid device ordinal",
            0,
            "it does not find its GPU: see `nvidia-smi -L` and `modelyard node show` for what this host has",
        ),
        (
            r"uncorrectable ECC error|CUDA_ERROR_ECC_UNCORRECTABLE|GPU is lost|fallen off the bus",
            re.IGNORECASE,
            "its GPU is broken: reset it, or restart the host; see `nvidia-smi` and the XID in `dmesg`",
        ),
        (
            r"no kernel image is available|CUDA_ERROR_NO_BINARY_FOR_GPU|unsupported toolchain"
            r"|CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            0,
            "its libraries or its model were built for other GPUs than this one: build the model on a GPU of this kind",
        ),
        (
            r"(CUDA (?:failure|error)[^;\n]{0,120}|CUDA_ERROR_\w+|cudaError\w+|an illegal memory access was encountered"
            r"|unspecified launch failure|device-side assert triggered|(?:CUDNN|CUBLAS)_STATUS_\w+)",
            re.IGNORECASE,
            "CUDA failed under it, {0}: where that comes again, the model or the GPU is bad; see the XID in `dmesg`",
        ),
        (
            r"Failed to allocate memory for requested buffer of size (\d+)",
            0,
            "there was no memory for a buffer of {0} bytes: deploy it with more memory, or send it smaller requests",
        ),
        (
            r"std::bad_alloc|^MemoryError|Cannot allocate memory|DefaultCPUAllocator: can't allocate memory",
            re.MULTILINE,
            "there was no memory left for it: deploy it with more --memory, or fewer replicas on this host",
        ),
        (
            r"No space left on device",
            0,
            "a disk is full, or /dev/shm: look at `df` on this host",
        ),
        (
            r"can't start new thread|pthread_create failed",
            0,
            "it may start no more threads: raise the limit of processes (`ulimit -u`, or pids.max of the cgroup)",
        ),
    )
)  # fmt: skip
