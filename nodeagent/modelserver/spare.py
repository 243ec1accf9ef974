"""A model server that has done what does not depend on its model, and waits to be told what to serve.

    python -P -m nodeagent.modelserver --spare onnxruntime

Standard input is a socket to the agent; what is said there is a JSON object on a line, each way:

    {"ready": true}                                               from the spare, once it has imported everything
    {"arguments": [], "environment": {}, "cores": [], "folder": ""}       from the agent: go on as a server of these
    {"error": ""}                                                 from the spare, which goes on where it is empty
"""

import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# What computes a model, as the agent calls it: the module whose import brings it in.
_SESSIONS = {
    "onnxruntime": "nodeagent.modelserver.onnx_session",
    "openvino": "nodeagent.modelserver.openvino_session",
}
# A tenth of the processor beside a process of the usual one; at the lowest it would hardly get ready on a busy host.
_LOW_PRIORITY = 10
_CAP_SYS_NICE = 23  # capabilities(7): may raise its priority again
_AUTOGROUP = Path("/proc/self/autogroup")
_AUTOGROUP_TRIES, _AUTOGROUP_PAUSE_S = 50, 0.05
_SOCKET = 0
_LARGEST_LINE = 1 << 20


def await_orders(library: str) -> list[str]:
    """The flags to go on with. Ends the process where the agent has gone, or its orders cannot be followed."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with _low_priority():
        importlib.import_module("nodeagent.modelserver.main")
        importlib.import_module(_SESSIONS[library])
    _say({"ready": True})
    orders = json.loads(_hear() or sys.exit())
    try:
        _follow(orders)
    except OSError as error:
        _say({"error": str(error)})
        sys.exit(1)
    _say({"error": ""})
    _let_go_of_socket()
    return list(orders["arguments"])


def _follow(orders: Any) -> None:
    """Raises OSError."""
    cores = set(orders["cores"])
    if cores:
        _for_each_thread(lambda thread: os.sched_setaffinity(thread, cores))
    os.chdir(orders["folder"])
    os.environ.update(orders["environment"])


def _for_each_thread(change: Callable[[int], None]) -> None:
    """Until none has come meanwhile; a thread inherits from the one that makes it."""
    changed: set[int] = set()
    while found := {int(task.name) for task in Path("/proc/self/task").iterdir()} - changed:
        for thread in found:
            with suppress(ProcessLookupError):
                change(thread)
        changed |= found


@contextmanager
def _low_priority() -> Iterator[None]:
    """So that what is imported meanwhile does not hold up what is served here.

    It ends before the spare waits, which costs nothing: who is told to serve on a busy host must hear of it at once.
    """
    before = _lower_priority()
    with _low_session_priority():
        yield
    _for_each_thread(lambda thread: os.setpriority(os.PRIO_PROCESS, thread, before))


def _lower_priority() -> int:
    """Returns what the priority was. Where this process could not raise it again afterwards, it stays."""
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    highest = 20 - resource.getrlimit(resource.RLIMIT_NICE)[0]  # getrlimit(2)
    if _has_capability(_CAP_SYS_NICE) or highest <= priority:
        os.setpriority(os.PRIO_PROCESS, 0, max(priority, _LOW_PRIORITY))
    return priority


@contextmanager
def _low_session_priority() -> Iterator[None]:
    """Where the kernel shares the processors among sessions, the priority of a process counts within its own only: see
    "The autogroup feature" in sched(7). Raises OSError where it cannot be raised again.
    """
    try:
        before = int(_AUTOGROUP.read_text().split()[-1])
        _AUTOGROUP.write_text(str(max(before, _LOW_PRIORITY)))
    except (OSError, ValueError, IndexError):  # no such feature here, or others made changes just now
        yield
        return
    yield
    _set_session_priority(before)


def _set_session_priority(priority: int) -> None:
    for tries_left in reversed(range(_AUTOGROUP_TRIES)):
        try:
            _AUTOGROUP.write_text(str(priority))
            return
        except BlockingIOError:  # the kernel takes no more than ten changes a second, of all processes together
            if not tries_left:
                raise
            time.sleep(_AUTOGROUP_PAUSE_S)


def _has_capability(number: int) -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> number & 1)


def _say(message: dict[str, object]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # found out at the next reading
        os.write(_SOCKET, json.dumps(message).encode() + b"\n")


def _hear() -> bytes:
    """One line; empty where the other end was closed before its end."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LARGEST_LINE:
        chunk = os.read(_SOCKET, 1 << 16)
        if not chunk:
            return b""
        line += chunk
    return line


def _let_go_of_socket() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, _SOCKET)
    os.close(null)


def main_arguments(arguments: Sequence[str]) -> list[str]:
    """The flags of this program: those given, or what a spare is told to go on with."""
    if arguments[:1] != ["--spare"]:
        return list(arguments)
    if len(arguments) != 2 or arguments[1] not in _SESSIONS:
        sys.exit(f"--spare stands alone, with one of {', '.join(_SESSIONS)}, and is for the node agent only")
    return await_orders(arguments[1])
