"""The node agent's composition root."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata
from typing import Any

from modelyard.control_channel import open_control_channel
from modelyard.program import announce_ready
from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.artifact_source import ControllerSource
from nodeagent.cache import ArtifactCache
from nodeagent.data_folder import DataFolder
from nodeagent.devices.cgroup_box import open_box
from nodeagent.devices.cpu import server_environment
from nodeagent.devices.gpu_host import GpuHost
from nodeagent.gpu_sharing import follow_shares, open_gpus
from nodeagent.log_sender import LogSender
from nodeagent.replica_folder import spares_beside
from nodeagent.runtimes.base import Runtime
from nodeagent.runtimes.builtin import BuiltinRuntime
from nodeagent.runtimes.triton import TritonRuntime
from nodeagent.runtimes.triton_config import ConfigLimits
from nodeagent.runtimes.triton_install import find_triton, name_triton
from nodeagent.session import ControllerSession
from nodeagent.settings import AgentSettings
from nodeagent.spare_server import SpareKind
from nodeagent.spare_servers import SpareServers
from nodeagent.supervisor import Supervisor
from nodeagent.workshop import Workshop

log = logging.getLogger(__name__)

# At most: who follows the log of a replica that the agent stopped is to see its end.
_LAST_WORDS_S = 5.0


async def run_agent(
    settings: AgentSettings,
    folder: DataFolder,
    resources: resources_pb2.NodeResources,
    runtimes: Sequence[Runtime],
    stop: asyncio.Event,
    *,
    gpus: GpuHost,
) -> None:
    """Until `stop` is set, and then for as long as its replicas take to finish."""
    hello = agent_pb2.AgentHello(
        node=settings.node, instance_id=folder.instance_id(), resources=resources, release=_read_release()
    )
    async with open_control_channel(settings.controller) as channel:
        cache = ArtifactCache(folder.cache, ControllerSource(channel), settings.cache_limit_bytes)
        supervisor = Supervisor(_make_workshop(settings, folder, cache, runtimes), gpus.conditions)
        shares = supervisor.workshop.gpus = open_gpus(settings, folder, resources)
        loop = asyncio.get_running_loop()
        gpus.call_on_change(partial(_wake, loop, supervisor.changed))
        shares.adopt()
        await supervisor.adopt()
        _want_first_spare(supervisor.workshop)
        logs = LogSender(channel, supervisor.find_folder, supervisor.workshop.ended_logs.find)
        session = ControllerSession(settings.controller, channel, supervisor, logs, hello)
        follow_shares(shares, settings, resources, session.announce)
        serving = [
            asyncio.create_task(session.run()),
            asyncio.create_task(_announce(settings, session)),
            asyncio.create_task(supervisor.workshop.memory.run()),
        ]
        try:
            await _until_set(stop, serving)
            # The session goes on meanwhile, so that the controller sees the replicas leave.
            if settings.on_stop == "keep":
                await logs.close()  # its readers are not to be told that the replicas have stopped
                await supervisor.leave_all()
            else:
                await supervisor.stop_all()
                await logs.close(_LAST_WORDS_S)
                await shares.stop()
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
            await logs.close()
            await supervisor.workshop.spares.close()
            await shares.let_go()


def make_runtimes(settings: AgentSettings) -> tuple[Runtime, ...]:
    builtin = BuiltinRuntime(
        max_message_bytes=settings.max_message_bytes,
        max_typed_bytes=settings.max_typed_bytes,
        max_string_elements=settings.max_string_elements,
        max_batch_size=settings.max_batch_size,
        max_concurrent_requests=settings.max_concurrent_requests,
        drain_timeout_s=settings.drain_timeout_s,
    )
    return (builtin, _make_triton(settings))


def _make_triton(settings: AgentSettings) -> Runtime:
    """Raises ValueError where the settings name what is not there."""
    if settings.triton_command and settings.triton:
        raise ValueError("--triton and --triton-command exclude each other: which of them is to start Triton?")
    if settings.triton_command:
        install = name_triton(settings.triton_command, settings.triton_command_backends)
    else:
        install = find_triton(settings.triton, settings.triton_backends)
    if reason := install.problem or (install.python_problem if "python" in install.backends else ""):
        wanted = settings.triton or settings.triton_command
        what = "Triton" if install.problem else "Triton's Python backend"
        log.log(logging.WARNING if wanted else logging.INFO, "%s is not offered: %s", what, reason)
    limits = ConfigLimits(settings.max_batch_size)
    return TritonRuntime(install, limits, settings.drain_timeout_s)


def _want_first_spare(workshop: Workshop) -> None:
    """For the likeliest replica; later ones show what else is to be had in waiting."""
    if any("MODEL_FORMAT_ONNX" in runtime.offer().cpu_formats for runtime in workshop.runtimes):
        workshop.spares.want(SpareKind.of("onnxruntime", server_environment(1)))


def _make_workshop(
    settings: AgentSettings, folder: DataFolder, cache: ArtifactCache, runtimes: Sequence[Runtime]
) -> Workshop:
    return Workshop(
        replicas=folder.replicas,
        cache=cache,
        runtimes=runtimes,
        limits=settings.replica_limits(),
        max_message_bytes=settings.max_message_bytes,
        log_limit_bytes=settings.log_limit_bytes,
        box=open_box(),
        spares=SpareServers(spares_beside(folder.replicas), settings.spare_servers),
        host=settings.address or "",
    )


def _read_release() -> str:
    """Of this project; a word for one that runs from its sources without being installed."""
    try:
        return metadata.version("modelyard")
    except metadata.PackageNotFoundError:
        return "not installed"


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """From another thread."""
    with suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(event.set)


async def _announce(settings: AgentSettings, session: ControllerSession) -> None:
    await session.up.wait()
    announce_ready(settings, node=settings.node, address=session.address)


async def _until_set(stop: asyncio.Event, tasks: list["asyncio.Task[None]"]) -> None:
    """Returns when `stop` is set; raises what ended one of `tasks` before."""
    stopping = asyncio.create_task(stop.wait())
    running: set[asyncio.Task[Any]] = {stopping, *tasks}
    while not stopping.done():
        ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
