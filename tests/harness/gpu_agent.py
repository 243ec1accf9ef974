"""`python -m tests.harness.gpu_agent`: the node agent with a runtime that takes replicas with a share of a GPU.

Its server is the built-in one, which computes on the CPU, and joins MPS as a process on the GPU would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nodeagent import __main__ as program
from nodeagent import main
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.runtimes.base import Launch, Runtime, RuntimeOffer, ServerPlan
from nodeagent.settings import AgentSettings

_SERVER = Path(__file__).with_name("gpu_server.py")
_make_runtimes = main.make_runtimes


@dataclass(frozen=True)
class GpuRuntime:
    builtin: Runtime
    name: str = "gpu-stand-in"

    def offer(self) -> RuntimeOffer:
        return RuntimeOffer(version="1", gpu_formats=frozenset({"MODEL_FORMAT_ONNX"}))

    def why_not(self, spec: ReplicaSpec) -> str:
        return "" if spec.gpu else "it needs a share of a GPU"

    def plan(self, launch: Launch) -> ServerPlan:
        plan = self.builtin.plan(replace(launch, spec=replace(launch.spec, gpu=None)))

        def command(ready_fd: int) -> Sequence[str]:
            words = list(plan.command(ready_fd))
            at = words.index("nodeagent.modelserver")
            return [*words[: at - 1], str(_SERVER), *words[at + 1 :]]

        return replace(plan, command=command)

    def explain_exit(self, code: int, log_tail: str) -> str:
        return ""


def make_runtimes(settings: AgentSettings, *arguments: object) -> tuple[Runtime, ...]:
    builtin = _make_runtimes(settings, *arguments)
    return (*builtin, GpuRuntime(builtin[0]))


if __name__ == "__main__":
    vars(program)["make_runtimes"] = make_runtimes
    program.main()
