"""A replica that dies under load: what the caller sees, and how it comes back."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from modelyard.v1 import resources_pb2
from tests.harness.load import Load
from tests.harness.models import write_scale_model
from tests.harness.programs import wait_for
from tests.harness.yard import Yard, replica_pid

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

WORKERS = 8


def find(yard: Yard, replica: resources_pb2.Replica) -> resources_pb2.Replica:
    """As it is now."""
    return next(r for r in yard.replicas(replica.model) if r.replica_id == replica.replica_id)


@pytest.mark.parametrize("no_retries", [False, True], ids=["retries", "no-retries"])
async def test_kill_of_one_of_two_replicas(yard: Yard, tmp_path: Path, no_retries: bool) -> None:
    model = "once" if no_retries else "again"
    yard.register(model, write_scale_model(tmp_path / "scale.onnx", 2.0))
    yard.set_alias(model, "production", 1)
    yard.deploy(model, replicas=2, no_retries=no_retries)
    await asyncio.to_thread(yard.wait_serving, model, version=1, replicas=2)
    victim = yard.replicas(model)[0]
    pid = replica_pid(yard, victim)

    async with Load(yard.address, model, workers=WORKERS).running() as load:
        await load.reach(500)
        psutil.Process(pid).send_signal(signal.SIGKILL)
        await asyncio.to_thread(wait_for, lambda: not psutil.pid_exists(pid), "the end of the replica")
        # Its agent may not have told of it yet.
        await asyncio.to_thread(wait_for, lambda: find(yard, victim).restarts == 1, "its restart")
        await asyncio.to_thread(yard.wait_serving, model, version=1, replicas=2)
        await load.reach(load.result.total + 1000)

    print(f"requests {load.result.total}, errors {dict(load.result.errors)}")
    allowed = WORKERS if no_retries else 0  # in flight on it: at most one of each caller
    assert load.result.errors.total() <= allowed
    assert {key.partition(":")[0] for key in load.result.errors} <= {"UNAVAILABLE"}
    back = find(yard, victim)
    assert back.restarts == 1
    assert replica_pid(yard, back) != pid


async def test_one_of_two_hangs(yard: Yard, tmp_path: Path) -> None:
    yard.register("hangs", write_scale_model(tmp_path / "scale.onnx", 2.0))
    yard.set_alias("hangs", "production", 1)
    yard.deploy("hangs", replicas=2)
    await asyncio.to_thread(yard.wait_serving, "hangs", version=1, replicas=2)
    victim = yard.replicas("hangs")[0]
    process = psutil.Process(replica_pid(yard, victim))

    async with Load(yard.address, "hangs", workers=WORKERS).running() as load:
        await load.reach(500)
        process.suspend()
        await asyncio.to_thread(wait_for, lambda: yard.status("hangs").ready_replicas == 1, "its way out of the routes")
        assert process.is_running()
        await asyncio.to_thread(wait_for, lambda: not process.is_running(), "its end")
        await asyncio.to_thread(yard.wait_serving, "hangs", version=1, replicas=2)
        await load.reach(load.result.total + 1000)

    print(f"requests {load.result.total}, errors {dict(load.result.errors)}")
    assert not load.result.errors
    back = find(yard, victim)
    assert back.restarts == 1
