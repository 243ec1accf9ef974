"""What an operator does while clients ask costs no request: scaling, a new version, restarts of each program."""

import asyncio
from collections.abc import Callable

import pytest

from tests.harness.load import Load, LoadResult
from tests.harness.models import write_scale_model
from tests.harness.programs import Program
from tests.harness.yard import Yard

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REQUESTS = 5000


@pytest.fixture(scope="module")
def served(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """Two versions of one model; version 1 (times 2) in production on two replicas."""
    folder = tmp_path_factory.mktemp("models")
    for factor in (2.0, 3.0):
        yard.register("scale", write_scale_model(folder / "scale.onnx", factor))
    yard.set_alias("scale", "production", 1)
    yard.deploy("scale", replicas=2)
    yard.wait_serving("scale", version=1, replicas=2)
    return yard


async def _load_during(yard: Yard, change: Callable[[], None]) -> LoadResult:
    """The load's result: it runs before, during and after the change, and for 5,000 requests at least."""
    async with Load(yard.address, "scale").running() as load:
        await load.reach(500)
        await asyncio.to_thread(change)
        await load.reach(max(REQUESTS, load.result.total + 500))
    print(f"requests {load.result.total}, answers {dict(load.result.answers)}, errors {dict(load.result.errors)}")
    return load.result


async def test_scaling_up_and_down_fails_no_request(served: Yard) -> None:
    def scale() -> None:
        for replicas in (1, 3, 1, 2):
            served.deploy("scale", replicas=replicas)
            served.wait_serving("scale", version=1, replicas=replicas)

    result = await _load_during(served, scale)
    assert not result.errors
    assert set(result.answers) == {2.0}


async def test_moving_production_fails_no_request_and_mixes_no_answer(served: Yard) -> None:
    def move() -> None:
        served.set_alias("scale", "production", 2)
        served.wait_serving("scale", version=2, replicas=2)

    result = await _load_during(served, move)
    assert not result.errors
    assert set(result.answers) == {2.0, 3.0}
    after = await _load_during(served, lambda: None)
    assert not after.errors
    assert set(after.answers) == {3.0}

    def move_back() -> None:
        served.set_alias("scale", "production", 1)
        served.wait_serving("scale", version=1, replicas=2)

    assert not (await _load_during(served, move_back)).errors


@pytest.mark.parametrize("name", ["controller", "agent", "router"])
async def test_killing_a_program_of_the_control_plane_fails_no_request(served: Yard, name: str) -> None:
    program: Program = getattr(served, name)
    before = {replica.replica_id for replica in served.replicas("scale")}

    def kill_and_start() -> None:
        program.kill()
        program.start()
        served.wait_serving("scale", version=1, replicas=2)

    result = await _load_during(served, kill_and_start)
    assert not result.errors
    assert set(result.answers) == {2.0}
    assert {replica.replica_id for replica in served.replicas("scale")} == before
