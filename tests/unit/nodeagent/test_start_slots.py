import asyncio
from collections.abc import Sequence

import pytest

from nodeagent.start_slots import StartSlots

LONGEST_S = 1000.0  # no test takes so long that a slot is given back for that


async def let_run() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def began() -> list[str]:
    return []


def begin(slots: StartSlots, began: list[str], replica_id: str, cores: Sequence[int] = (0,)) -> "asyncio.Task[None]":
    async def wait() -> None:
        await slots.take(replica_id, cores)
        began.append(replica_id)

    return asyncio.create_task(wait())


async def test_two_start_at_a_time_on_a_core_and_the_first_come_first(began: list[str]) -> None:
    slots = StartSlots(LONGEST_S)
    tasks = [begin(slots, began, replica_id) for replica_id in ("r1", "r2", "r3", "r4")]
    await let_run()
    assert began == ["r1", "r2"]
    slots.give_back("r2")
    slots.give_back("r2")  # says it twice, and gives one back
    await let_run()
    assert began == ["r1", "r2", "r3"]
    slots.give_back("r1")
    await asyncio.gather(*tasks)
    assert began[-1] == "r4"


async def test_what_is_pinned_elsewhere_need_not_wait(began: list[str]) -> None:
    slots = StartSlots(LONGEST_S)
    tasks = [begin(slots, began, replica_id) for replica_id in ("r1", "r2", "r3")]
    await asyncio.gather(begin(slots, began, "r4", [1, 2]), begin(slots, began, "r5", []))
    assert began == ["r1", "r2", "r4", "r5"]
    slots.give_back("r4")
    await let_run()
    assert began == ["r1", "r2", "r4", "r5"]
    slots.give_back("r1")
    await tasks[2]


async def test_one_that_waits_for_several_cores_is_not_passed_on_any_of_them(began: list[str]) -> None:
    slots = StartSlots(LONGEST_S)
    tasks = [begin(slots, began, replica_id) for replica_id in ("r1", "r2")]
    tasks += [begin(slots, began, "wide", [0, 1]), begin(slots, began, "r3", [1]), begin(slots, began, "r4", [1])]
    await let_run()
    assert began == ["r1", "r2", "r3"]  # one more than these on core 1 would be one too many for the wide one
    slots.give_back("r1")
    await let_run()
    assert began == ["r1", "r2", "r3", "wide"]
    slots.give_back("r3")
    await asyncio.gather(*tasks)


async def test_one_that_no_longer_wants_to_start_holds_nobody_up(began: list[str]) -> None:
    slots = StartSlots(LONGEST_S)
    tasks = [begin(slots, began, replica_id) for replica_id in ("r1", "r2", "r3", "r4")]
    await let_run()
    tasks[2].cancel()
    slots.give_back("r1")
    await let_run()
    assert began == ["r1", "r2", "r4"]


async def test_a_turn_that_comes_just_as_its_wish_ends_goes_to_the_next(began: list[str]) -> None:
    slots = StartSlots(LONGEST_S)
    tasks = [begin(slots, began, replica_id) for replica_id in ("r1", "r2", "r3", "r4")]
    await let_run()
    slots.give_back("r1")
    tasks[2].cancel()  # its turn has come, and it has not run yet
    await let_run()
    assert began == ["r1", "r2", "r4"]


async def test_a_start_that_takes_long_does_not_hold_up_the_others(began: list[str]) -> None:
    slots = StartSlots(longest_s=0.0)
    await asyncio.gather(*(begin(slots, began, replica_id) for replica_id in ("r1", "r2", "r3", "r4")))
    assert began == ["r1", "r2", "r3", "r4"]
