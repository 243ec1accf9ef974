"""Which runtimes an agent offers to the controller."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.v1 import resources_pb2
from nodeagent import inventory
from nodeagent.devices.gpu_selection import Selection
from nodeagent.devices.gpus import GpuFacts
from nodeagent.runtimes.base import Runtime, RuntimeOffer
from nodeagent.runtimes.triton import TritonRuntime
from nodeagent.runtimes.triton_config import ConfigLimits
from nodeagent.settings import AgentSettings
from tests.unit.nodeagent.test_runtimes import BUILTIN
from tests.unit.nodeagent.test_triton_runtime import FULL, ONNX, PLAN, SAVEDMODEL, triton

GPUS = Selection((GpuFacts("GPU-5c3f", "0", "NVIDIA L4", 24 << 30, "8.9"),))


@dataclass(frozen=True)
class PlansOnly(TritonRuntime):
    name: str = "plans"

    def offer(self) -> RuntimeOffer:
        return RuntimeOffer("1", gpu_formats=frozenset({PLAN}))


def offers(runtimes: Sequence[Runtime], gpus: Selection) -> dict[str, tuple[set[str], set[str]]]:
    resources = inventory.take_inventory(AgentSettings.load([]), runtimes, gpus)
    name = resources_pb2.ModelFormat.Name
    return {
        offer.name: (set(map(name, offer.cpu_formats)), set(map(name, offer.gpu_formats)))
        for offer in resources.runtimes
    }


def test_formats_on_gpus_are_offered_where_there_is_a_gpu() -> None:
    runtimes = (triton(FULL), PlansOnly(FULL, ConfigLimits(1), 1.0))
    assert offers(runtimes, Selection()) == {"triton": ({ONNX, SAVEDMODEL}, set())}
    assert offers(runtimes, GPUS) == {
        "triton": ({ONNX, SAVEDMODEL}, {ONNX, SAVEDMODEL, PLAN}),
        "plans": (set(), {PLAN}),
    }


def test_the_built_in_server_stays_the_first() -> None:
    assert list(offers((BUILTIN, triton(FULL)), Selection())) == ["built-in", "triton"]
