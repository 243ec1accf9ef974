"""Records a yard's backlog, and is killed at a step of that: `python -m tests.faults.dying_recorder`.

Each line on standard input, "N DATABASE_URL DATA_FOLDER", is one life of a recorder in a process of its own, which
ends ahead of its N-th write to either store, the lineage's or that of the yard; 0: once everything is recorded. The
answer on standard output is the signal that ended it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controlplane.registry import recorder
from controlplane.registry.lineage import lineage_config
from controlplane.registry.lineage.local import LocalLineage
from controlplane.registry.lineage.mlmd import MlmdStore
from controlplane.registry.sql.migrate import open_database
from controlplane.registry.sql.registry_store import SqlRegistryStore

_FACTS_AT_ONCE = 4


class Steps:
    def __init__(self, last: int) -> None:
        self._left = last

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def ahead_of(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*arguments: Any) -> Any:
            self.step()
            return act(*arguments)

        return stepped

    def ahead_of_puts(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(act: Any, *arguments: Any, **options: Any) -> Any:
            # Types, which are put first, are the same for whoever comes next.
            if act.__name__.startswith("put_") and not act.__name__.endswith("_type"):
                self.step()
            return call(act, *arguments, **options)

        return stepped


async def record_all(url: str, data: Path) -> None:
    database = open_database(url)
    store = SqlRegistryStore(database)
    task = recorder.LineageRecorder(store, LocalLineage(lineage_config("", url, data)))
    task.start()
    while store.list_facts(False, 0, 1):
        await asyncio.sleep(0.001)
    await task.close()
    database.close()


def live(last: int, url: str, data: Path) -> None:
    steps = Steps(last)
    recorder._BATCH = _FACTS_AT_ONCE
    MlmdStore._call = staticmethod(steps.ahead_of_puts(MlmdStore._call))  # type: ignore[method-assign]
    SqlRegistryStore.mark_recorded = steps.ahead_of(SqlRegistryStore.mark_recorded)  # type: ignore[method-assign]
    asyncio.run(record_all(url, data))


def main() -> None:
    for line in sys.stdin:
        last, url, data = line.split()
        process = os.fork()
        if not process:
            live(int(last), url, Path(data))
            os._exit(0)
        print(os.WTERMSIG(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
