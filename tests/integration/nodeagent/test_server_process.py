"""No process is lost, none is taken for another, whatever goes wrong around its start."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from modelyard.processes import ProcessIdentity
from nodeagent import replica_events as events
from nodeagent.replica_folder import ReplicaFolder
from nodeagent.running_server import RunningServer, ServerFacts
from nodeagent.server_process import LaunchPlan, adopt, find_marked, launch
from tests.harness.programs import wait_for
from tests.integration.nodeagent.conftest import StartAgent

# An agent that is killed after it has started a server, and before it could write down which.
KILLED_AGENT = """
import os, signal, sys
from pathlib import Path
from nodeagent import replica_events as events
from nodeagent.replica_folder import ReplicaFolder
from nodeagent.running_server import RunningServer, ServerFacts
from nodeagent.server_process import LaunchPlan, launch
folder = ReplicaFolder(Path(sys.argv[1]))
folder.prepare()
launch(LaunchPlan(folder, lambda _: ["sleep", "600"], {}, ()))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ReplicaFolder]:
    replicas = tmp_path / "data" / "replicas"
    folder = ReplicaFolder(replicas / "r1")
    folder.prepare()
    yield folder
    for identity in find_marked(str(replicas)):
        identity.send_signal(signal.SIGKILL)


def plan(folder: ReplicaFolder) -> LaunchPlan:
    return LaunchPlan(folder, lambda _: ["sleep", "600"], {}, ())


def fail_to_hold(_pid: int) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def fail_to_identify(pid: int) -> ProcessIdentity:
    raise psutil.NoSuchProcess(pid)


@pytest.mark.parametrize(
    ("place", "failure"),
    [("os.pidfd_open", fail_to_hold), ("nodeagent.server_process.ProcessIdentity.of", fail_to_identify)],
)
def test_a_process_that_cannot_be_watched_is_not_left_running(
    folder: ReplicaFolder, monkeypatch: pytest.MonkeyPatch, place: str, failure: object
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(place, failure)
        with pytest.raises(OSError, match="its process cannot be watched"):
            launch(plan(folder))
    assert not find_marked(str(folder.path.parent))


def test_a_process_is_adopted_by_its_own_folder_only(folder: ReplicaFolder) -> None:
    launched = launch(plan(folder))
    # The kernel tells the environment a moment after the new program has taken the place of the old one.
    assert wait_for(lambda: find_marked(str(folder.path.parent)), "its environment")
    adopted = adopt(launched.identity, str(folder.path))
    assert adopted
    assert adopt(launched.identity, str(folder.path.with_name("r2"))) is None
    assert adopt(ProcessIdentity(launched.identity.pid, 1.0), str(folder.path)) is None
    adopted.send_signal(signal.SIGKILL)
    assert wait_for(lambda: adopt(launched.identity, str(folder.path)) is None, "its end")
    adopted.close()
    launched.close()


def test_a_number_that_a_thread_has_by_now_is_no_process(folder: ReplicaFolder) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert thread.native_id
    assert adopt(ProcessIdentity.of(thread.native_id), str(folder.path)) is None
    done.set()
    thread.join()


def test_what_an_agent_started_and_had_no_time_to_write_down_is_ended(
    start_agent: StartAgent, folder: ReplicaFolder
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_AGENT, str(folder.path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    # The kernel tells the environment a moment after the new program has taken the place of the old one.
    (stray,) = wait_for(lambda: find_marked(str(folder.path.parent)), "its environment")
    assert stray.is_alive()
    start_agent()
    assert not stray.is_alive()
    assert not list(folder.path.parent.iterdir())


async def end_of(folder: ReplicaFolder, explain_exit: Callable[[int, str], str], oom_kills: int, killer: str) -> str:
    """What is told of a server that is killed."""
    told: asyncio.Queue[events.Event] = asyncio.Queue()
    server = RunningServer(
        launch(plan(folder)),
        folder,
        ServerFacts("127.0.0.1", ""),
        7,
        told.put_nowait,
        explain_exit=explain_exit,
        count_oom_kills=lambda: oom_kills,
        take_off_gpu=lambda: asyncio.sleep(0),
        pulse_interval_s=1.0,
    )
    if killer == "agent":
        server.send_signal(signal.SIGKILL)
    else:
        os.kill(server.identity.pid, signal.SIGKILL)
    exited = await told.get()
    await server.let_go()
    assert isinstance(exited, events.Exited) and exited.launch == 7
    return exited.reason


@pytest.mark.parametrize(
    ("oom_kills", "killer", "reason"),
    [
        (1, "kernel", "it needed more memory than it was given, and the kernel ended it for that"),
        (0, "kernel", "something other than this agent killed it"),
        (0, "agent", "its process was killed by SIGKILL"),
    ],
)
async def test_who_killed_a_server_is_told(folder: ReplicaFolder, oom_kills: int, killer: str, reason: str) -> None:
    assert (await end_of(folder, lambda _code, _log_tail: "", oom_kills, killer)).startswith(reason)


async def test_an_end_is_told_even_where_nobody_can_tell_why(folder: ReplicaFolder) -> None:
    def break_down(_code: int, _log_tail: str) -> str:
        raise RuntimeError("a defect of its runtime")

    reason = "its process ended, and why cannot be told: a defect of its runtime"
    assert await end_of(folder, break_down, 0, "agent") == reason
