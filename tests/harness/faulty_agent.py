"""`python -m tests.harness.faulty_agent`: the node agent with one runtime more, whose server fails as it is told to."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodeagent import __main__ as program
from nodeagent import main
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.runtimes.base import Launch, Runtime, RuntimeOffer, ServerPlan
from nodeagent.settings import AgentSettings

_SERVER = Path(__file__).with_name("faulty_server.py")
_make_runtimes = main.make_runtimes


@dataclass(frozen=True)
class FaultyRuntime:
    name: str = "faulty"

    def offer(self) -> RuntimeOffer:
        return RuntimeOffer(version="1", cpu_formats=frozenset({"MODEL_FORMAT_ONNX"}))

    def why_not(self, spec: ReplicaSpec) -> str:
        return "" if spec.runtime == self.name else "nobody asked for it"

    def plan(self, launch: Launch) -> ServerPlan:
        def command(ready_fd: int) -> Sequence[str]:
            return [sys.executable, str(_SERVER), launch.host, str(ready_fd)]

        return ServerPlan(command)

    def explain_exit(self, code: int, log_tail: str) -> str:
        return ""


def make_runtimes(settings: AgentSettings, *arguments: object) -> tuple[Runtime, ...]:
    return (*_make_runtimes(settings, *arguments), FaultyRuntime())


if __name__ == "__main__":
    vars(program)["make_runtimes"] = make_runtimes
    program.main()
