"""Each fault of a node is noticed, named and mended; the tests print how long that takes (pytest -s)."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from modelyard.v1 import deployments_pb2, resources_pb2
from tests.harness.load import Load
from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.harness.yard import Yard, replica_pid

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

READY = resources_pb2.REPLICA_STATE_READY
WAIT_S = 110.0


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    running = Yard(tmp_path_factory.mktemp("yard"), agent_module="tests.harness.faulty_agent")
    yield running
    running.close()


@dataclass
class Watch:
    """What `modelyard replicas` says of a model's one replica, from the moment of the fault."""

    yard: Yard
    model: str
    fault: str
    began: float = field(default_factory=time.monotonic)
    noticed_s: float = 0.0
    said: str = ""

    def look(self) -> resources_pb2.Replica:
        return self.yard.replicas(self.model)[0]

    def wait_noticed(self, *words: str) -> None:
        """Until it is not ready, and its message has these words.

        Where it is mended before anybody has looked, its agent has told its own log the same.
        """

        def is_named() -> bool:
            replica = self.look()
            if replica.state != READY and replica.message:
                self.noticed_s = self.noticed_s or time.monotonic() - self.began
            self.said = describe(replica)
            if replica.state == READY:
                return bool(replica.restarts) and self._was_logged(replica.replica_id, words)
            return all(word in replica.message for word in words)

        try:
            wait_for(is_named, f"{self.fault} to be named", WAIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; last: {self.said}") from None

    def _was_logged(self, replica_id: str, words: tuple[str, ...]) -> bool:
        lines = self.yard.agent.log.read_text().splitlines()
        return any(replica_id in line and all(word in line for word in words) for line in lines)

    def wait_mended(self, *, restarts: int = 1) -> None:
        def is_mended() -> bool:
            replica = self.look()
            return replica.state == READY and replica.restarts >= restarts

        wait_for(is_mended, f"{self.fault} to be mended", WAIT_S)
        self.tell(time.monotonic() - self.began)

    def tell(self, mended_s: float) -> None:
        noticed = f"{self.noticed_s:.2f}" if self.noticed_s else "-"
        print(f"\nFAULT | {self.fault} | {noticed} | {mended_s:.2f} | {self.said}")


def describe(replica: resources_pb2.Replica) -> str:
    state = resources_pb2.ReplicaState.Name(replica.state).removeprefix("REPLICA_STATE_")
    return f"{state} {replica.message}"


def serve(yard: Yard, model: str, tmp_path: Path, *, runtime: str = "", factor: float = 2.0) -> resources_pb2.Replica:
    yard.register(model, write_scale_model(tmp_path / f"{model}.onnx", factor))
    yard.set_alias(model, "production", 1)
    deployment = resources_pb2.Deployment(
        name=f"models/{model}/deployments/production",
        replicas=1,
        threads=1,
        serving=resources_pb2.Serving(runtime=runtime),
    )
    yard.deployments.UpdateDeployment(
        deployments_pb2.UpdateDeploymentRequest(deployment=deployment, allow_missing=True), timeout=30
    )
    yard.wait_serving(model, version=1, replicas=1)
    return yard.replicas(model)[0]


def check_answers(yard: Yard, model: str, factor: float = 2.0) -> None:
    """With the right ones, and with nothing else."""

    async def ask() -> None:
        async with Load(yard.address, model, workers=2).running() as load:
            await load.reach(20)
        assert not load.result.errors
        assert set(load.result.answers) == {factor}

    asyncio.run(ask())


def test_a_killed_model_server(yard: Yard, tmp_path: Path) -> None:
    pid = replica_pid(yard, serve(yard, "killed", tmp_path))
    os.kill(pid, signal.SIGKILL)
    watch = Watch(yard, "killed", "kill -9 of the model server")
    watch.wait_noticed("SIGKILL")
    watch.wait_mended()
    yard.wait_serving("killed", version=1, replicas=1)
    check_answers(yard, "killed")


async def test_a_killed_agent(yard: Yard, tmp_path: Path) -> None:
    before = await asyncio.to_thread(serve, yard, "orphan", tmp_path)
    pid = replica_pid(yard, before)
    async with Load(yard.address, "orphan", workers=2).running() as load:
        await load.reach(100)
        yard.agent.kill()
        watch = Watch(yard, "orphan", "kill -9 of the agent")
        await asyncio.to_thread(wait_for, lambda: not is_connected(yard), "the loss of the node")
        watch.noticed_s = time.monotonic() - watch.began
        watch.said = f"{describe(watch.look())} (and `modelyard nodes`: not connected)"
        await load.reach(load.result.total + 500)
        watch.began += await asyncio.to_thread(timed, yard.agent.start)  # that is the test's own time
        await asyncio.to_thread(watch.wait_mended, restarts=0)
        await load.reach(load.result.total + 500)
    assert not load.result.errors
    after = watch.look()
    assert (after.restarts, replica_pid(yard, after)) == (0, pid)


def is_connected(yard: Yard) -> bool:
    return bool(yard.cluster.ListNodes(deployments_pb2.ListNodesRequest(), timeout=30).nodes[0].connected)


def timed(act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


async def test_a_killed_controller(yard: Yard, tmp_path: Path) -> None:
    before = await asyncio.to_thread(serve, yard, "headless", tmp_path)
    pid = replica_pid(yard, before)
    async with Load(yard.address, "headless", workers=2).running() as load:
        await load.reach(100)
        yard.controller.kill()
        await load.reach(load.result.total + 500)
        start_s = await asyncio.to_thread(timed, yard.controller.start)
        watch = Watch(yard, "headless", "kill -9 of the controller")
        await asyncio.to_thread(watch.wait_mended, restarts=0)
        await load.reach(load.result.total + 500)
    print(f"the controller took {start_s:.2f} s to start; the figure above is from there until it knew all again")
    assert not load.result.errors
    assert replica_pid(yard, watch.look()) == pid


def test_a_server_that_is_stopped(yard: Yard, tmp_path: Path) -> None:
    pid = replica_pid(yard, serve(yard, "stopped", tmp_path))
    os.kill(pid, signal.SIGSTOP)
    watch = Watch(yard, "stopped", "SIGSTOP of the model server")
    watch.wait_noticed("it hangs", "is stopped")
    watch.wait_mended()
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("silent", ("it hangs: it answers nothing", "does nothing")),
        ("stuck", ("probes in a row failed", "DEADLINE_EXCEEDED")),
        ("errors", ("probes in a row failed", "its weights are gone")),
    ],
)
def test_a_server_that_fails_while_its_process_lives(
    yard: Yard, tmp_path: Path, fault: str, words: tuple[str, ...]
) -> None:
    replica = serve(yard, fault, tmp_path, runtime="faulty")
    assert replica.runtime == "faulty"
    check_answers(yard, fault)
    pid = replica_pid(yard, replica)
    (yard.folder / "agent" / "replicas" / replica.replica_id / "fault").write_text(fault)
    watch = Watch(yard, fault, f"a server that is {fault}")
    watch.wait_noticed(*words)
    assert yard.status(fault).ready_replicas == 0  # no request goes there any more
    watch.wait_mended()
    assert not psutil.pid_exists(pid)
    yard.wait_serving(fault, version=1, replicas=1)
    check_answers(yard, fault)


def find_cached(yard: Yard, file: Path) -> Path:
    """The agent's copy of this model file."""
    whole = file.read_bytes()
    return next(path for path in (yard.folder / "agent" / "cache").iterdir() if path.read_bytes() == whole)


def flip_bytes(path: Path) -> None:
    """In the middle, in place, as a careless program does."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))
    path.chmod(0o444)


def test_a_cached_file_that_is_damaged_under_a_running_replica(yard: Yard, tmp_path: Path) -> None:
    pid = replica_pid(yard, serve(yard, "rotten", tmp_path, factor=7.0))
    file = find_cached(yard, tmp_path / "rotten.onnx")
    whole = file.read_bytes()
    flip_bytes(file)
    check_answers(yard, "rotten", 7.0)  # it has read the file
    os.kill(pid, signal.SIGKILL)
    watch = Watch(yard, "rotten", "a damaged file under a running replica (from its next start)")
    watch.wait_mended()
    assert file.read_bytes() == whole
    assert "is damaged" in yard.agent.log_tail(20_000)
    yard.wait_serving("rotten", version=1, replicas=1)
    check_answers(yard, "rotten", 7.0)


def test_a_cached_file_that_is_damaged_while_nothing_uses_it(yard: Yard, tmp_path: Path) -> None:
    serve(yard, "idle", tmp_path, factor=9.0)
    file = find_cached(yard, tmp_path / "idle.onnx")
    whole = file.read_bytes()
    yard.undeploy("idle")
    wait_for(lambda: not yard.replicas("idle"), "the end of the replica")
    flip_bytes(file)
    began = time.monotonic()
    yard.deploy("idle")
    yard.wait_serving("idle", version=1, replicas=1)
    print(f"\nFAULT | a damaged file under no replica | - | {time.monotonic() - began:.2f} | -")
    assert file.read_bytes() == whole
    check_answers(yard, "idle", 9.0)


@pytest.fixture
def small_disk(yard: Yard) -> Iterator[Path]:
    """A file system of 4 MiB, with the cache on it. Skips where this user may not mount one."""
    yard.agent.stop()
    disk, cache = yard.folder / "disk", yard.folder / "agent" / "cache"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        yard.agent.start()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    (disk / "cache").mkdir()
    shutil.rmtree(cache)
    cache.symlink_to(disk / "cache")
    yard.agent.start()
    yield disk
    yard.agent.stop()
    cache.unlink()
    subprocess.run(["umount", str(disk)], check=True)
    yard.agent.start()


def test_a_full_disk_in_the_cache(yard: Yard, tmp_path: Path, small_disk: Path) -> None:
    serve(yard, "lucky", tmp_path)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    yard.register("late", write_scale_model(tmp_path / "late.onnx", 3.0))
    yard.set_alias("late", "production", 1)
    yard.deploy("late")
    watch = Watch(yard, "late", "a full disk in the cache (from the deployment)")
    wait_for(lambda: yard.replicas("late"), "a replica")
    watch.wait_noticed("no room for a model file")
    check_answers(yard, "lucky")
    filler.unlink()
    freed = time.monotonic()
    wait_for(lambda: watch.look().state == READY, "the replica", WAIT_S)
    watch.fault += ", mended from when there is room again"
    watch.tell(time.monotonic() - freed)
    yard.wait_serving("late", version=1, replicas=1)
    check_answers(yard, "late", 3.0)
