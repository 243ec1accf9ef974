"""How a replica's server is started: as its runtime plans it, from a spare where one waits."""

import asyncio
import secrets
from collections.abc import Callable
from functools import partial

from modelyard.errors import UnavailableError
from nodeagent import server_process
from nodeagent.devices.gpu_environment import NO_GPU
from nodeagent.modelserver.canary_token import CANARY_TOKEN_VARIABLE
from nodeagent.replica_folder import ReplicaFolder
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.running_server import ServerFacts
from nodeagent.runtimes.base import Launch, Runtime, ServerPlan
from nodeagent.server_process import LaunchPlan, ServerProcess
from nodeagent.workshop import Workshop


async def start_server(
    launch: Launch, runtime: Runtime, workshop: Workshop, lose_gpu: Callable[[str], None]
) -> tuple[ServerProcess, ServerFacts]:
    """`lose_gpu`: is told why the share of a GPU that this opens is not to be had any more.

    Raises YardError, OSError and ValueError; then no process is left.
    """
    spec = launch.spec
    gpu = await workshop.gpus.open(spec.replica_id, spec.gpu, lose_gpu) if spec.gpu else NO_GPU
    plan, facts = await asyncio.to_thread(_plan_server, launch, runtime)
    environment = {**plan.environment, **gpu, CANARY_TOKEN_VARIABLE: facts.canary_token}
    enclose = partial(_limit_memory, workshop, spec)
    launch_plan = LaunchPlan(ReplicaFolder(launch.folder), plan.command, environment, spec.cores, enclose=enclose)
    return await _start_process(plan, launch_plan, spec, workshop), facts


async def _start_process(
    plan: ServerPlan, launch_plan: LaunchPlan, spec: ReplicaSpec, workshop: Workshop
) -> ServerProcess:
    workshop.spares.note_start(spec.replica_id)
    # What computes on a GPU reads its share of it when it is imported.
    if plan.spare_library and not spec.gpu:
        process = await workshop.spares.hand_over(plan.spare_library, plan.environment, launch_plan)
        if process:
            return process
    return await asyncio.to_thread(server_process.launch, launch_plan)


def _plan_server(launch: Launch, runtime: Runtime) -> tuple[ServerPlan, ServerFacts]:
    if not launch.host:
        raise UnavailableError("this node's address is not known before it has reached the controller")
    ReplicaFolder(launch.folder).prepare()
    plan = runtime.plan(launch)
    canary_token = secrets.token_hex(16) if plan.knows_probes else ""
    return plan, ServerFacts(launch.host, canary_token, runtime.name, plan.port, plan.metrics_port)


def _limit_memory(workshop: Workshop, spec: ReplicaSpec, pid: int) -> None:
    """An estimate is no limit."""
    workshop.box.put(spec.replica_id, pid, 0 if spec.is_memory_estimated else spec.memory_bytes)
