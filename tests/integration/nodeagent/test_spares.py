"""Servers in waiting: what is made of one is what a cold start makes, and none of them is ever left behind."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc

from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.modelserver.canary_token import CANARY_TOKEN_VARIABLE
from nodeagent.replica_folder import MARKER
from nodeagent.server_process import find_marked
from tests.harness.models import write_scale_model
from tests.harness.programs import Program, is_gone, wait_for
from tests.harness.savedmodels import load_reference, savedmodel
from tests.integration.nodeagent.conftest import LONG_PROBES, PATIENT, StartAgent
from tests.integration.nodeagent.stand_in import READY, StandInController

# A spare imports at a low priority: on a busy machine it gets a tenth of a core.
SPARE_S = 100.0
pytestmark = pytest.mark.timeout(300)

Spare = Callable[[], int]


@pytest.fixture
def version(controller: StandInController, tmp_path: Path) -> resources_pb2.Version:
    return controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))


@pytest.fixture
def wait_spare(tmp_path: Path) -> Spare:
    """The pid of the one spare, once it waits."""

    def find() -> int | None:
        waits = [int(pid) for pid in re.findall(r"process (\d+) waits", (tmp_path / "agent.log").read_text())]
        return next((pid for pid in waits if pid in spares(tmp_path)), None)

    return lambda: int(wait_for(find, "a spare", SPARE_S))


def spares(tmp_path: Path) -> list[int]:
    """Processes that are no replica's yet: their folders are where spares have theirs."""
    names = {path.name for path in (tmp_path / "data" / "spares").glob("*")}
    found = find_marked(str(tmp_path / "data" / "replicas"))
    return [identity.pid for identity in found if folder_name(identity.pid) in names]


def folder_name(pid: int) -> str:
    try:
        return Path(psutil.Process(pid).environ()[MARKER]).name
    except (psutil.Error, KeyError):  # it has just ended
        return ""


def start(start_agent: StartAgent, *flags: str, program: str = "nodeagent") -> Program:
    return start_agent("--log-level", "debug", *flags, program=program)


def infer(port: int) -> list[float]:
    x = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        answer: list[float] = client.infer("scale", [x], client_timeout=30).as_numpy("y")[0].tolist()
    return answer


def affinities(pid: int) -> set[str]:
    """Of all of its threads."""
    texts = []
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(FileNotFoundError, ProcessLookupError):  # this thread has just ended
            texts.append(path.read_text())
    return {line.split()[1] for text in texts for line in text.splitlines() if line.startswith("Cpus_allowed_list")}


def descriptors(pid: int) -> Iterator[str]:
    """Each without its numbers."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            yield re.sub(r"\d+", "N", str(path.readlink()))


def priorities(pid: int) -> set[int]:
    """Of all of its threads."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # this thread has just ended
            found.add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
    return found


def tell_apart(pid: int) -> dict[str, object]:
    """What the kernel tells of a server that could differ by how it was started, with the numbers left out that do."""
    folder, process = Path(f"/proc/{pid}"), psutil.Process(pid)
    status = dict(line.split(":\t") for line in (folder / "status").read_text().splitlines())
    kept = ("Umask", "Uid", "Gid", "Groups", "Seccomp", "NoNewPrivs", "Threads")
    maps = (folder / "maps").read_text().split()
    return {
        "status": {name: text for name, text in status.items() if name in kept or name.startswith(("Sig", "Cap"))},
        "environment": {
            name: text for name, text in process.environ().items() if name not in (CANARY_TOKEN_VARIABLE, MARKER)
        },
        "descriptors": sorted(descriptors(pid)),
        "libraries": {word for word in maps if ".so" in word},
        "priorities": priorities(pid),
        "session priority": (folder / "autogroup").read_text().split()[1:] if (folder / "autogroup").exists() else [],
        "scheduling": os.sched_getscheduler(pid),
        "affinities": affinities(pid),
        "limits": (folder / "limits").read_text(),
        "groups": (folder / "cgroup").read_text(),
        "oom": (folder / "oom_score_adj").read_text(),
        "leads its session": os.getsid(pid) == os.getpgid(pid) == pid,
    }


def test_a_server_is_the_same_whether_it_waited_or_not(
    controller: StandInController,
    start_agent: StartAgent,
    version: resources_pb2.Version,
    wait_spare: Spare,
    tmp_path: Path,
) -> None:
    start(start_agent, program=PATIENT)
    waiting = wait_spare()
    core = max(os.sched_getaffinity(0))
    controller.want_on_core(core, r1=version, r2=version)
    replicas = {replica_id: controller.wait_seen(replica_id, READY) for replica_id in ("r1", "r2")}
    (cold,) = (replica.pid for replica in replicas.values() if replica.pid != waiting)
    for replica_id, replica in replicas.items():
        folder = tmp_path / "data" / "replicas" / replica_id
        assert infer(replica.port) == [3.0] * 4
        assert psutil.Process(replica.pid).cwd() == str(folder)
        assert "serving model=scale" in (folder / "log").read_text()
        assert {Path(f"/proc/{replica.pid}/fd/{number}").readlink() for number in (1, 2)} == {folder / "log"}
        times = replica.start_times
        assert min(times.fetch_s, times.start_s, times.load_s, times.warm_up_s, times.probe_s) > 0
    assert affinities(cold) == {str(core)} and os.getsid(cold) == cold
    # A connection that was closed is let go of a moment later, and a thread of gRPC after twenty seconds without work.
    wait_for(lambda: tell_apart(waiting) == tell_apart(cold), "nothing that differs", 60)


def test_a_spare_that_waits_has_the_priority_of_a_server(start_agent: StartAgent, wait_spare: Spare) -> None:
    """What is told to serve on a busy host would not be heard from for seconds, else."""
    start(start_agent)
    waiting = tell_apart(wait_spare())
    assert waiting["priorities"] == {psutil.Process().nice()}
    assert waiting["session priority"] in ([], ["nice", "0"])


def test_none_is_kept_where_none_is_wanted(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version, tmp_path: Path
) -> None:
    start(start_agent, "--spare-servers", "0")
    controller.want(r1=version)
    controller.wait_seen("r1", READY)
    assert not (tmp_path / "data" / "spares").exists()


@pytest.mark.slow
def test_another_takes_its_place_of_the_kind_that_was_asked_for_last(
    controller: StandInController,
    start_agent: StartAgent,
    version: resources_pb2.Version,
    wait_spare: Spare,
    tmp_path: Path,
) -> None:
    start(start_agent, program=PATIENT)
    first = wait_spare()
    want_threads(controller, version, r1=2)
    assert controller.wait_seen("r1", READY).pid != first  # its variables were read when it was started
    wait_for(lambda: first not in spares(tmp_path), "the end of the spare for one thread")
    second = wait_spare()
    assert psutil.Process(second).environ()["OMP_NUM_THREADS"] == "2"
    want_threads(controller, version, r1=2, r2=2)
    assert controller.wait_seen("r2", READY).pid == second


def want_threads(controller: StandInController, version: resources_pb2.Version, **threads: int) -> None:
    controller.want_all(
        *(
            agent_pb2.DesiredReplica(
                replica_id=replica_id, version=version, allocation=resources_pb2.Allocation(cores=[0], threads=count)
            )
            for replica_id, count in threads.items()
        )
    )


@pytest.mark.slow
def test_a_spare_that_hangs_costs_a_moment_and_not_the_replica(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version, wait_spare: Spare
) -> None:
    start(start_agent)
    hung = wait_spare()
    os.kill(hung, signal.SIGSTOP)
    controller.want(r1=version)
    replica = controller.wait_seen("r1", READY)
    assert (replica.pid != hung, replica.restarts) == (True, 0)
    wait_for(lambda: is_gone(hung), "its end")  # it was killed before, and may wait for a core to end on
    assert wait_spare() not in (hung, replica.pid)


def test_a_spare_that_dies_is_replaced(
    controller: StandInController, start_agent: StartAgent, version: resources_pb2.Version, wait_spare: Spare
) -> None:
    start(start_agent, program=PATIENT)
    dead = wait_spare()
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: is_gone(dead), "its end")
    second = wait_spare()
    controller.want(r1=version)
    assert controller.wait_seen("r1", READY).pid == second


@pytest.mark.slow
def test_a_replica_that_was_a_spare_outlives_its_agent_and_spares_do_not(
    controller: StandInController,
    start_agent: StartAgent,
    version: resources_pb2.Version,
    wait_spare: Spare,
    tmp_path: Path,
) -> None:
    agent = start(start_agent, program=PATIENT)
    waiting = wait_spare()
    controller.want(r1=version)
    before = controller.wait_seen("r1", READY)
    assert before.pid == waiting
    left = wait_spare()
    agent.kill()
    wait_for(lambda: is_gone(left), "the spare's end")
    start(start_agent, *LONG_PROBES)
    told = controller.hellos[-1].observed.replicas[0]
    assert (told.pid, told.port, told.state, told.restarts) == (before.pid, before.port, READY, 0)
    assert told.start_times == before.start_times
    assert wait_spare() not in (before.pid, left)
    assert [path.name for path in (tmp_path / "data" / "replicas").iterdir()] == ["r1"]
    controller.want()
    wait_for(lambda: controller.seen("r1") is None, "the replica's end")
    assert is_gone(before.pid)


@pytest.mark.slow
def test_the_next_agent_ends_a_spare_that_did_not_see_its_own_die(
    controller: StandInController, start_agent: StartAgent, wait_spare: Spare
) -> None:
    agent = start(start_agent)
    hung = wait_spare()
    os.kill(hung, signal.SIGSTOP)
    agent.kill()
    start(start_agent)
    assert is_gone(hung)


@pytest.mark.slow
def test_an_agent_that_is_killed_in_a_hand_over_leaves_nothing_that_is_taken_for_a_replica(
    controller: StandInController,
    start_agent: StartAgent,
    version: resources_pb2.Version,
    wait_spare: Spare,
    tmp_path: Path,
) -> None:
    agent = start(start_agent, program=PATIENT)  # which does not give the spare up before it is killed itself
    waiting = wait_spare()
    os.kill(waiting, signal.SIGSTOP)
    controller.want(r1=version)
    wait_for((tmp_path / "data" / "replicas" / "r1" / "log").exists, "the hand-over")
    agent.kill()
    os.kill(waiting, signal.SIGCONT)  # what it was told may have reached it: then it serves, and nobody knows
    start(start_agent)
    assert is_gone(waiting)
    replica = controller.wait_seen("r1", READY)
    assert (replica.pid != waiting, replica.restarts) == (True, 0)
    assert infer(replica.port) == [3.0] * 4


@pytest.mark.parametrize("on_stop", ["stop", "keep"])
def test_an_agent_that_is_stopped_leaves_no_spare(
    on_stop: str, start_agent: StartAgent, wait_spare: Spare, tmp_path: Path
) -> None:
    agent = start(start_agent, "--on-stop", on_stop)
    wait_spare()
    assert agent.stop() == 0
    # The agent does not wait for ever for a spare that it has killed, and that gets no core to end on.
    wait_for(lambda: not find_marked(str(tmp_path / "data" / "replicas")), "the end of all")
    assert not list((tmp_path / "data" / "spares").iterdir())


def test_a_savedmodel_is_served_by_a_spare_once_one_was_asked_for(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path
) -> None:
    start(start_agent, program=PATIENT)
    reference = load_reference("cnn")
    version = controller.add_folder(
        savedmodel("cnn"), resources_pb2.MODEL_FORMAT_SAVEDMODEL, reference.inputs, reference.outputs
    )
    controller.want(r1=version)
    cold = controller.wait_seen("r1", READY)
    log = tmp_path / "agent.log"
    found = wait_for(
        lambda: re.search(r"process (\d+) waits as a spare server for openvino", log.read_text()), "one", SPARE_S
    )
    controller.want(r1=version, r2=version)
    warm = controller.wait_seen("r2", READY)
    assert (warm.pid, affinities(warm.pid)) == (int(found[1]), affinities(cold.pid))
    # A thread of gRPC ends after twenty seconds without work.
    wait_for(lambda: count_threads(warm.pid) == count_threads(cold.pid), "as many threads", 60)


def count_threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208
