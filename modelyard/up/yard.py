"""The programs of a yard together: started in the order in which they need each other, stopped the other way round."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.config import read_config
from modelyard.errors import FailedPreconditionError
from modelyard.up.backoff import compute_restart_delay_s, count_failures
from modelyard.up.child import Child, kill_descendants, kill_tree

# The router first: it takes no new requests and finishes those it has while the replicas are still there.
_STOP_ORDER = ("router", "agent", "controller")
# Each program bounds its own end, by settings of its own; this is for one that hangs.
_STOP_GRACE_S = 600.0
# What a yard on one machine calls its node and its router, unless its owner has other names for them.
_NAMES = {"agent": "node", "router": "router_id"}
_NAME = "local"


@dataclass(frozen=True)
class YardOptions:
    """`listen`, `controller_listen`: "host:port"; empty: what the configuration file says, or the program's default."""

    data: Path
    config: Path | None = None
    listen: str = ""
    controller_listen: str = ""


@dataclass(frozen=True)
class YardFacts:
    """What listens where, once everything is ready."""

    controller: str
    router: str
    node: str


class Yard:
    """Controller, one node agent and one router. `tell` gets a sentence for each thing worth knowing.

    `modules` names the module of each program.
    """

    def __init__(self, options: YardOptions, modules: dict[str, str], tell: Callable[[str], None]) -> None:
        self._options = options
        self._tell = tell
        # Nothing is ever written: the programs see the end of this process in the pipe's closing.
        self._parent_read, self._parent_write = os.pipe()
        self._children = {
            name: Child(name, module, data=options.data, log=self.logs / f"{name}.log", parent_fd=self._parent_read)
            for name, module in modules.items()
        }
        self._arguments: dict[str, list[str]] = {}

    @property
    def logs(self) -> Path:
        return self._options.data / "logs"

    async def start(self) -> YardFacts:
        """Returns when all are ready. Raises FailedPreconditionError with the reason where one does not start."""
        options = self._options
        controller = await self._start("controller", [], options.controller_listen)
        dial = ["--controller", to_dialable(controller["address"])]
        agent, router = await _gather(
            self._start("agent", [*dial, *self._name("agent")]),
            self._start("router", [*dial, *self._name("router")], options.listen),
        )
        # A restarted program must be where the others look for it, also where the first start chose a free port.
        self._arguments["controller"] += _listen(controller["address"])
        self._arguments["router"] += _listen(router["address"])
        return YardFacts(to_dialable(controller["address"]), to_dialable(router["address"]), str(agent["node"]))

    async def keep(self) -> None:
        """Starts again what ends; returns only by being cancelled."""
        async with asyncio.TaskGroup() as group:
            for child in self._children.values():
                group.create_task(self._keep(child))

    async def stop(self) -> None:
        """Stops all, in order, each within its time."""
        for name in _STOP_ORDER:
            if self._children[name].pid is not None:
                self._tell(f"stopping the {name}")
                await self._children[name].stop(_STOP_GRACE_S)
        self._close()

    def kill(self) -> None:
        """Ends all at once, with whatever they have under way."""
        for child in self._children.values():
            if child.pid is not None:
                kill_tree(child.pid)
        # What was adopted after a restart of its program is nobody's child.
        kill_descendants(self._options.data)
        self._close()

    def _name(self, program: str) -> list[str]:
        setting = _NAMES[program]
        tables = read_config(self._options.config) if self._options.config else {}
        if setting in tables.get(program, {}) or f"MODELYARD_{program}_{setting}".upper() in os.environ:
            return []
        return [f"--{setting.replace('_', '-')}", _NAME]

    def _close(self) -> None:
        os.close(self._parent_read)
        os.close(self._parent_write)

    async def _start(self, name: str, arguments: list[str], listen: str = "") -> dict[str, Any]:
        common = ["--data", str(self._options.data / name)]
        if self._options.config is not None:
            common += ["--config", str(self._options.config)]
        self._arguments[name] = [*common, *arguments]
        self._tell(f"starting the {name}")
        return await self._children[name].start([*self._arguments[name], *_listen(listen)])

    async def _keep(self, child: Child) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            status = await child.wait()
            failures = count_failures(failures, time.monotonic() - started)
            delay_s = compute_restart_delay_s(failures)
            self._tell(f"the {child.name} ended with status {status}; again in {delay_s:g} s: {child.last_words()}")
            await asyncio.sleep(delay_s)
            try:
                await child.start(self._arguments[child.name])
                self._tell(f"the {child.name} is back")
            except FailedPreconditionError as error:
                self._tell(error.message)


def to_dialable(address: str) -> str:
    """Where this host reaches what listens on `address`: all addresses include the loopback."""
    host, _, port = address.rpartition(":")
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host) + f":{port}"


def _listen(address: str) -> list[str]:
    return ["--listen", address] if address else []


async def _gather(*starts: Any) -> list[dict[str, Any]]:
    """All results; where one fails, its error, with the others cancelled."""
    tasks = [asyncio.ensure_future(start) for start in starts]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
