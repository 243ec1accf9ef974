"""The router: composition root."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from grpc import aio

from modelyard.addresses import format_address, parse_address
from modelyard.errors import YardError
from modelyard.files import hold_data_folder
from modelyard.program import announce_ready, run_program
from router.ads.server import create_ads_server
from router.envoy.address import resolve_host
from router.envoy.binary import find_envoy
from router.envoy.discovery import find_processes, held_port, remove_stale_files
from router.envoy.memory import choose_memory_limit_bytes
from router.envoy.process import EnvoyFolders, EnvoyProcess, EnvoySpec
from router.envoy.supervisor import Supervisor
from router.files import make_run_folder
from router.local.service import create_local_server
from router.session import ControllerSession
from router.settings import RouterSettings
from router.state import RouterState
from router.xds.data_plane import DataPlane

_TABLE = "route_table.binpb"


def main(arguments: list[str] | None = None) -> None:
    settings = RouterSettings.load(sys.argv[1:] if arguments is None else arguments)
    try:
        with hold_data_folder(settings.data, "router"):
            run_program(settings, partial(_serve, settings))
    except YardError as error:
        sys.exit(f"modelyard router: {error.message}")


async def _serve(settings: RouterSettings, stop: asyncio.Event) -> None:
    data = settings.data.resolve()
    host, port = parse_address(settings.listen)
    host = await resolve_host(host)
    folders = EnvoyFolders(run=make_run_folder(data), log=data / "envoy.log")
    found = find_processes(folders)
    remove_stale_files(folders.run, found)
    memory_limit_bytes = settings.memory_limit_bytes or choose_memory_limit_bytes()
    with held_port(host, port, found) as port:
        spec = EnvoySpec(find_envoy(settings.envoy), settings.concurrency, memory_limit_bytes, host, port)
        await _serve_on(spec, folders, found, settings, stop)


async def _serve_on(
    spec: EnvoySpec,
    folders: EnvoyFolders,
    found: Sequence[EnvoyProcess],
    settings: RouterSettings,
    stop: asyncio.Event,
) -> None:
    host, port = spec.listen_host, spec.listen_port
    plane = DataPlane(
        listen_host=host,
        listen_port=port,
        local_socket=str(folders.local_socket),
        max_message_bytes=settings.max_message_bytes,
        retry_buffer_bytes=settings.retry_buffer_bytes,
        request_timeout_s=settings.request_timeout_s,
    )
    state = RouterState(plane, settings.data.resolve() / _TABLE)
    state.load()
    supervisor = Supervisor(state.hub, spec, folders, found, drain_timeout_s=settings.drain_timeout_s)
    session = ControllerSession(
        state,
        controller=settings.controller,
        router_id=settings.router_id,
        address=format_address(_reachable_host(host), port),
    )
    ads_server = create_ads_server(state.hub, str(folders.ads_socket))
    local_server = create_local_server(state, str(folders.local_socket))

    async def serve_clients() -> None:
        await supervisor.start()
        announce_ready(settings, address=format_address(host, port))
        await asyncio.gather(supervisor.run(), session.run())

    try:
        async with _running(ads_server), _running(local_server):
            try:
                await _run_until(stop, [state.run(), serve_clients()])
            finally:
                await supervisor.stop()
    finally:
        folders.remove_sockets()


async def _run_until(stop: asyncio.Event, parts: Sequence[Coroutine[Any, Any, object]]) -> None:
    """Runs all until `stop`, or until one fails: then so does this."""
    tasks = [asyncio.create_task(part) for part in (stop.wait(), *parts)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _running(server: aio.Server) -> AsyncIterator[None]:
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace=0.5)


def _reachable_host(host: str) -> str:
    """Where others find what listens on all addresses."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host
