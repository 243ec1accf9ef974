"""Composition root: loads the model, serves it, drains."""

import asyncio
import logging
import os
import signal
import sys
from typing import Any

from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from modelyard.addresses import format_address
from modelyard.errors import YardError
from modelyard.grpc_server import create_server
from modelyard.logs import configure_logging
from modelyard.program import announce_ready, run_program
from nodeagent.modelserver.dataplane import DataPlane
from nodeagent.modelserver.drain import wait_until_quiet
from nodeagent.modelserver.loading import load_session
from nodeagent.modelserver.servicer import SERVICE, inference_handler
from nodeagent.modelserver.session import Session
from nodeagent.modelserver.settings import ServerSettings

log = logging.getLogger(__name__)

EXIT_MODEL = 3
EXIT_PORT = 4
_QUIET_S = 0.3  # longer than a caller under load leaves between two requests
_LAST_RUN_S = 1.0  # for an inference to reach its next node, where it can be ended
_LAST_GRACE_S = 3.0  # for a request that is still being received; streams that stand idle are cut after it


def main() -> None:
    settings = ServerSettings.load(sys.argv[1:])
    configure_logging(settings.log_level, settings.log_format)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the starter's terminal may close; this server goes on
    session = _load(settings)
    run_program(settings, lambda stop: _serve(settings, session, stop))


def _load(settings: ServerSettings) -> Session[Any]:
    try:
        session = load_session(settings)
    except YardError as error:
        log.error("cannot serve %s@%s: %s", settings.model, settings.version, error.message)
        sys.exit(EXIT_MODEL)
    try:
        session.warm_up()
    except YardError as error:
        # Some models refuse zeros, and serve what is real all the same.
        log.warning("the first inference, of zeros, failed: %s", error.message)
    return session


async def _serve(settings: ServerSettings, session: Session[Any], stop: asyncio.Event) -> None:
    dataplane = DataPlane(settings, session)
    server, health = create_server([SERVICE.full_name], max_message_bytes=settings.max_message_bytes)
    server.add_generic_rpc_handlers((inference_handler(dataplane, settings.max_typed_bytes),))
    try:
        port = server.add_insecure_port(format_address(settings.host, settings.port))
    except RuntimeError:
        log.error(
            "cannot listen on %s: another program holds the port, or the address is not of this machine",
            format_address(settings.host, settings.port),
        )
        sys.exit(EXIT_PORT)
    await server.start()
    for name in ("", SERVICE.full_name):
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    log.info("serving", extra={"model": settings.model, "version": settings.version, "port": port})
    announce_ready(settings, address=format_address(settings.host, port), port=port)
    await stop.wait()
    await _drain(settings, dataplane, server, health)


async def _drain(
    settings: ServerSettings, dataplane: DataPlane, server: aio.Server, health: health_aio.HealthServicer
) -> None:
    """Says that it is leaving, answers what still comes, and ends when nothing has come for a moment."""
    loop = asyncio.get_running_loop()
    # Whoever asks again, such as an agent that was restarted, must not cut off what is bounded anyway.
    loop.add_signal_handler(signal.SIGTERM, log.info, "draining already")
    end = loop.time() + settings.drain_timeout_s
    log.info("draining", extra={"in_flight": dataplane.admission.in_flight})
    dataplane.ready = False
    await health.enter_graceful_shutdown()
    try:
        async with asyncio.timeout_at(end):
            await wait_until_quiet(dataplane.admission, _QUIET_S)
    except TimeoutError:
        log.warning("still busy when the drain time was over", extra={"in_flight": dataplane.admission.in_flight})
    await server.stop(grace=min(_LAST_GRACE_S, max(0.0, end - loop.time())))
    ended = await dataplane.close(_LAST_RUN_S)
    log.info("stopped", extra={"left_behind": not ended})
    if not ended:
        # A session cannot be taken apart under a run, and the run may last for ever.
        logging.shutdown()
        os._exit(0)
