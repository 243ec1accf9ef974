"""A node with GPUs: what the processes of its replicas get of them, and what becomes of both when MPS breaks."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.server_process import find_marked
from tests.harness.models import write_scale_model
from tests.harness.mps import MpsStub, find_session
from tests.harness.nvml import NvmlStub, StubGpu, a_gpu, a_gpu_in_mig_mode
from tests.harness.programs import Program, wait_for
from tests.integration.nodeagent.stand_in import READY, UNHEALTHY, StandInController

GIB = 1 << 30
# A look at the daemon several times a second, and none that holds a test up for long.
QUICK = ("--probe-interval-s", "0.2", "--probe-timeout-s", "2", "--drain-timeout-s", "1")
StartGpuAgent = Callable[..., Program]
Share = tuple[StubGpu, int, int]  # of which GPU, how many percent, how much memory


@pytest.fixture
def mps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MpsStub:
    stub = MpsStub(tmp_path)
    stub.use(monkeypatch)
    return stub


@pytest.fixture
def start_gpu_agent(
    controller: StandInController, mps: MpsStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StartGpuAgent]:
    """On a host with these GPUs, with the flags given."""
    agents: list[Program] = []
    stub: list[NvmlStub] = []

    def start(*flags: str, gpus: tuple[StubGpu, ...] = (a_gpu(0), a_gpu(1))) -> Program:
        if not stub:
            stub.append(NvmlStub(tmp_path, *gpus))
            stub[0].use(monkeypatch)
        arguments = ["--controller", controller.address, "--node", "n1", "--data", str(tmp_path / "data"), *flags]
        agents.append(Program("tests.harness.gpu_agent", arguments, tmp_path / "agent.log"))
        agents[-1].start()
        return agents[-1]

    yield start
    for agent in agents:
        agent.kill()
    for identity in find_marked(str(tmp_path / "data" / "replicas")):
        identity.send_signal(signal.SIGKILL)
    mps.end_daemons()


@pytest.fixture
def version(controller: StandInController, tmp_path: Path) -> resources_pb2.Version:
    return controller.add_file(write_scale_model(tmp_path / "model.onnx", 3.0))


@pytest.fixture
def want(controller: StandInController, version: resources_pb2.Version) -> Callable[..., None]:
    """Replica-id to its share; None: on the CPU. The whole desired set."""

    def want(**shares: Share | None) -> None:
        controller.want_all(*(_desire(name, version, share) for name, share in shares.items()))

    return want


def _desire(replica_id: str, version: resources_pb2.Version, share: Share | None) -> agent_pb2.DesiredReplica:
    allocation = resources_pb2.Allocation(cores=[0], threads=1)
    if share:
        gpu, percent, memory_bytes = share
        allocation.gpu.MergeFrom(resources_pb2.GpuShare(uuid=gpu.uuid, percent=percent, memory_bytes=memory_bytes))
    return agent_pb2.DesiredReplica(replica_id=replica_id, version=version, allocation=allocation)


def cuda_environment(pid: int) -> dict[str, str]:
    return {name: value for name, value in psutil.Process(pid).environ().items() if name.startswith("CUDA_")}


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["event"] for entry in entries if "event" in entry]


def test_a_share_reaches_the_environment_of_its_process_and_each_gpu_has_one_daemon(
    controller: StandInController, start_gpu_agent: StartGpuAgent, want: Callable[..., None], mps: MpsStub
) -> None:
    start_gpu_agent("--gpu-shares", "75,10")
    gpus = controller.hellos[0].resources.gpus
    assert [list(gpu.shares) for gpu in gpus] == [[100, 75, 50, 25, 10]] * 2
    want(a=(a_gpu(0), 25, 10 * GIB), b=(a_gpu(0), 75, 30 * GIB), c=(a_gpu(1), 50, 20 * GIB))
    of = {name: cuda_environment(controller.wait_seen(name, READY).pid) for name in "abc"}
    daemons = {entry["environment"]["CUDA_VISIBLE_DEVICES"]: entry["pipe"] for entry in mps.events("started")}
    assert len(mps.events("started")) == len(daemons) == 2
    assert of["a"] == {
        "CUDA_VISIBLE_DEVICES": a_gpu(0).uuid,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_MPS_PIPE_DIRECTORY": daemons[a_gpu(0).uuid],
        "CUDA_MPS_LOG_DIRECTORY": of["a"]["CUDA_MPS_LOG_DIRECTORY"],
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=10240M",
    }
    assert of["b"]["CUDA_MPS_PIPE_DIRECTORY"] == daemons[a_gpu(0).uuid]
    assert of["c"]["CUDA_MPS_PIPE_DIRECTORY"] == daemons[a_gpu(1).uuid]
    assert len(mps.events("client came")) == 3


def test_a_whole_gpu_needs_no_daemon_and_no_replica_inherits_what_the_agent_was_started_with(
    controller: StandInController,
    start_gpu_agent: StartGpuAgent,
    want: Callable[..., None],
    mps: MpsStub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "10")
    monkeypatch.setenv("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", "0=1M")
    start_gpu_agent("--spare-servers", "0")  # a spare's environment, as the kernel shows it, is that of its start
    want(whole=(a_gpu(1), 100, 40 * GIB), cpu=None)
    assert cuda_environment(controller.wait_seen("whole", READY).pid) == {
        "CUDA_VISIBLE_DEVICES": a_gpu(1).uuid,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_MPS_PIPE_DIRECTORY": "/dev/null",  # past a daemon that the host may have of its own
    }
    assert cuda_environment(controller.wait_seen("cpu", READY).pid) == {"CUDA_VISIBLE_DEVICES": ""}
    assert mps.log() == []


def test_a_replica_that_does_not_end_is_taken_off_the_gpu_before_it_is_killed(
    controller: StandInController, start_gpu_agent: StartGpuAgent, want: Callable[..., None], mps: MpsStub
) -> None:
    # Time for each answer of the daemon: where it is silent the replica is killed all the same.
    start_gpu_agent("--drain-timeout-s", "0", "--probe-timeout-s", "20")
    want(a=(a_gpu(0), 25, GIB), b=(a_gpu(0), 25, GIB))
    pid = controller.wait_seen("a", READY).pid
    neighbour = controller.wait_seen("b", READY).pid
    os.kill(pid, signal.SIGSTOP)
    want(b=(a_gpu(0), 25, GIB))
    wait_for(lambda: controller.seen("a") is None, "the end of the replica")
    (terminated,) = mps.commands()
    assert terminated.startswith("terminate_client ")
    assert terminated.endswith(f" {pid}")
    assert not mps.events("client killed without terminate_client")
    assert psutil.pid_exists(neighbour)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trouble", ["killed", "hang", "fault"])
def test_a_daemon_is_replaced_only_after_its_clients_have_left(
    trouble: str,
    controller: StandInController,
    start_gpu_agent: StartGpuAgent,
    want: Callable[..., None],
    mps: MpsStub,
) -> None:
    start_gpu_agent(*QUICK)
    want(a=(a_gpu(0), 25, GIB), b=(a_gpu(0), 25, GIB), c=(a_gpu(1), 50, GIB))
    before = {name: controller.wait_seen(name, READY) for name in "abc"}
    first = next(entry for entry in mps.events("started") if entry["environment"]["CUDA_VISIBLE_DEVICES"].endswith("0"))
    break_daemon(trouble, first["pid"], mps)
    reason = {"killed": "has ended", "hang": "hangs", "fault": "FAULT"}[trouble]
    for name in "ab":
        controller.wait_told(name, UNHEALTHY, reason)  # out of the routes, and the reason is told
    mps.play()
    for name in "ab":
        after = controller.wait_seen(name, READY, restarts=1)
        assert not psutil.pid_exists(before[name].pid)
        assert after.pid != before[name].pid
    of_first = [entry for entry in mps.log() if entry["pipe"] == first["pipe"]]
    started = [place for place, entry in enumerate(of_first) if entry.get("event") == "started"]
    assert len(started) == 2
    came = names(of_first[started[1] :]).count("client came")
    assert came == 2  # both came to the new one, and none before it was there
    if trouble == "killed":
        assert controller.wait_seen("c", READY).restarts == 0  # the other GPU has its own


def break_daemon(trouble: str, pid: int, mps: MpsStub) -> None:
    if trouble == "killed":
        os.kill(pid, signal.SIGKILL)
    else:
        mps.play(trouble)


@pytest.mark.slow
def test_an_agent_that_was_killed_leaves_daemon_and_replicas_to_the_next(
    controller: StandInController, start_gpu_agent: StartGpuAgent, want: Callable[..., None], mps: MpsStub
) -> None:
    agent = start_gpu_agent()
    want(a=(a_gpu(0), 25, GIB))
    pid = controller.wait_seen("a", READY).pid
    agent.kill()
    heir = start_gpu_agent()
    want(a=(a_gpu(0), 25, GIB), b=(a_gpu(0), 25, GIB))
    controller.wait_seen("b", READY)
    assert controller.wait_seen("a", READY).pid == pid
    assert len(mps.events("started")) == 1
    heir.stop()
    assert not find_session(mps.events("started")[0]["pid"])
    assert not mps.events("client killed without terminate_client")


def test_an_agent_that_keeps_its_replicas_keeps_their_daemon(
    controller: StandInController, start_gpu_agent: StartGpuAgent, want: Callable[..., None], mps: MpsStub
) -> None:
    agent = start_gpu_agent("--on-stop", "keep")
    want(a=(a_gpu(0), 25, GIB))
    pid = controller.wait_seen("a", READY).pid
    agent.stop()
    (started,) = mps.events("started")
    assert psutil.pid_exists(pid)
    assert psutil.pid_exists(started["pid"])
    assert mps.commands() == []


@pytest.mark.slow
def test_a_daemon_that_died_with_the_agent_away_costs_its_replicas_a_restart(
    controller: StandInController, start_gpu_agent: StartGpuAgent, want: Callable[..., None], mps: MpsStub
) -> None:
    agent = start_gpu_agent(*QUICK)
    want(a=(a_gpu(0), 25, GIB))
    controller.wait_seen("a", READY)
    agent.kill()
    os.kill(mps.events("started")[0]["pid"], signal.SIGKILL)
    start_gpu_agent(*QUICK)
    controller.wait_seen("a", READY, restarts=1)
    assert len(mps.events("started")) == 2


def test_where_the_daemon_does_not_start_the_controller_is_told_that_only_whole_gpus_are_to_be_had(
    controller: StandInController, start_gpu_agent: StartGpuAgent, want: Callable[..., None], mps: MpsStub
) -> None:
    agent = start_gpu_agent()
    mps.play("refuse")
    want(a=(a_gpu(0), 25, GIB))
    wait_for(lambda: len(controller.hellos) > 1, "another hello")
    first, second = controller.hellos[-1].resources.gpus
    assert list(first.shares) == [100]
    assert "the stand-in was told to refuse" in first.whole_because
    assert list(second.shares) == [100, 50, 25]
    mps.play()
    wait_for(lambda: list(controller.hellos[-1].resources.gpus[0].shares) != [100], "shares again", 60)
    controller.wait_seen("a", READY)  # after a pause that doubled with each try
    assert "cannot be reached" not in agent.log_tail(1 << 20)


def test_without_nvidias_program_each_gpu_is_given_away_whole(
    controller: StandInController, start_gpu_agent: StartGpuAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    start_gpu_agent()
    (gpu, _) = controller.hellos[0].resources.gpus
    assert list(gpu.shares) == [100]
    assert "nvidia-cuda-mps-control is not on the PATH" in gpu.whole_because


@pytest.mark.parametrize(("flags", "shares"), [((), [100]), (("--mps-on-mig",), [100, 50, 25])])
def test_mig_devices_are_shared_only_where_that_was_asked_for(
    flags: tuple[str, ...], shares: list[int], controller: StandInController, start_gpu_agent: StartGpuAgent
) -> None:
    start_gpu_agent(*flags, gpus=(a_gpu_in_mig_mode(0),))
    gpus = controller.hellos[0].resources.gpus
    assert [list(gpu.shares) for gpu in gpus] == [shares, shares]
    assert all(("--mps-on-mig" in gpu.whole_because) is (shares == [100]) for gpu in gpus)
