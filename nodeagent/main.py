"""The node agent's composition root."""

import asyncio
from collections.abc import Sequence
from typing import Any

from modelyard.control_channel import open_control_channel
from modelyard.program import announce_ready
from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.artifact_source import ControllerSource
from nodeagent.cache import ArtifactCache
from nodeagent.data_folder import DataFolder
from nodeagent.replica_actor import Workshop
from nodeagent.runtimes.base import Runtime
from nodeagent.runtimes.builtin import BuiltinRuntime
from nodeagent.session import ControllerSession
from nodeagent.settings import AgentSettings
from nodeagent.supervisor import Supervisor


async def run_agent(
    settings: AgentSettings,
    folder: DataFolder,
    resources: resources_pb2.NodeResources,
    runtimes: Sequence[Runtime],
    stop: asyncio.Event,
) -> None:
    """Until `stop` is set, and then for as long as its replicas take to finish."""
    hello = agent_pb2.AgentHello(node=settings.node, instance_id=folder.instance_id(), resources=resources)
    async with open_control_channel(settings.controller) as channel:
        cache = ArtifactCache(folder.cache, ControllerSource(channel), settings.cache_limit_bytes)
        supervisor = Supervisor(_make_workshop(settings, folder, cache, runtimes))
        await supervisor.adopt()
        session = ControllerSession(settings.controller, channel, supervisor, hello)
        serving = [asyncio.create_task(session.run()), asyncio.create_task(_announce(settings, session))]
        try:
            await _until_set(stop, serving)
            # The session goes on meanwhile, so that the controller sees the replicas leave.
            await (supervisor.leave_all() if settings.on_stop == "keep" else supervisor.stop_all())
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)


def make_runtimes(settings: AgentSettings) -> tuple[Runtime, ...]:
    builtin = BuiltinRuntime(
        max_message_bytes=settings.max_message_bytes,
        max_typed_bytes=settings.max_typed_bytes,
        max_string_elements=settings.max_string_elements,
        max_batch_size=settings.max_batch_size,
        max_concurrent_requests=settings.max_concurrent_requests,
        drain_timeout_s=settings.drain_timeout_s,
    )
    return (builtin,)


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
        host=settings.address or "",
    )


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
