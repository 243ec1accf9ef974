"""Composition root: loads the model, serves it, drains."""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, NoReturn

import uvloop
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from modelyard.addresses import format_address
from modelyard.errors import YardError
from modelyard.grpc_server import create_server
from modelyard.logs import configure_logging
from modelyard.program import announce_ready, run_program
from nodeagent.modelserver import exit_codes
from nodeagent.modelserver.batch import BatchLimits
from nodeagent.modelserver.dataplane import DataPlane
from nodeagent.modelserver.drain import wait_until_quiet
from nodeagent.modelserver.loading import find_session
from nodeagent.modelserver.metrics_server import MetricsServer
from nodeagent.modelserver.servicer import SERVICE, inference_handler
from nodeagent.modelserver.session import Session
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.modelserver.warm_up import WarmUp

log = logging.getLogger(__name__)

_QUIET_S = 0.3  # longer than a caller under load leaves between two requests
_LAST_RUN_S = 1.0  # for an inference to reach its next node, where it can be ended
_LAST_GRACE_S = 3.0  # for a request that is still being received; streams that stand idle are cut after it
_LAST_WORD_S = 0.5  # for answers that say what became of the GPU


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to serve, and when it got how far, in seconds of the monotonic clock."""

    session: Session[Any]
    batches: BatchLimits
    inline_bytes: int
    began: float  # to load; what had to be imported was
    loaded: float
    warm: float


def main() -> None:
    settings = ServerSettings.load(sys.argv[1:])
    configure_logging(settings.log_level, settings.log_format)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the starter's terminal may close; this server goes on
    loaded = _load(settings)
    run_program(settings, lambda stop: _serve(settings, loaded, stop), uvloop.new_event_loop)


def _load(settings: ServerSettings) -> Loaded:
    try:
        make_session = find_session(settings)
        began = time.monotonic()
        session = make_session()
    except YardError as error:
        log.error("cannot serve %s@%s: %s", settings.model, settings.version, error.message)
        sys.exit(exit_codes.MODEL)
    loaded = time.monotonic()
    warm_up = WarmUp(settings, session)
    batches = warm_up.run()
    return Loaded(session, batches, warm_up.find_inline_bytes(), began, loaded, time.monotonic())


async def _serve(settings: ServerSettings, loaded: Loaded, stop: asyncio.Event) -> None:
    dataplane = DataPlane(settings, loaded.session, loaded.batches, loaded.inline_bytes)
    server, health = create_server([SERVICE.full_name], max_message_bytes=settings.max_message_bytes)
    server.add_generic_rpc_handlers((inference_handler(dataplane, settings.max_typed_bytes),))
    try:
        port = server.add_insecure_port(format_address(settings.host, settings.port))
    except RuntimeError:
        _end_without_port(settings.host, settings.port)
    metrics = MetricsServer(dataplane.snapshot)
    facts = {"address": format_address(settings.host, port), "port": port}
    if settings.metrics_port is not None:
        facts["metrics_port"] = await _start_metrics(metrics, settings.host, settings.metrics_port)
    await server.start()
    for name in ("", SERVICE.full_name):
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    log.info("serving", extra={"model": settings.model, "version": settings.version, "port": port})
    announce_ready(settings, **facts, began=loaded.began, loaded=loaded.loaded, warm=loaded.warm)
    gc.freeze()  # what is there now stays: looking through it again and again holds up requests
    await _until_over(dataplane, server, stop)
    await _drain(settings, dataplane, server, health)
    metrics.close()


async def _start_metrics(metrics: MetricsServer, host: str, port: int) -> int:
    try:
        return await metrics.start(host, port)
    except OSError:
        _end_without_port(host, port)


def _end_without_port(host: str, port: int) -> NoReturn:
    where = format_address(host, port)
    log.error("cannot listen on %s: another program holds the port, or the address is not of this machine", where)
    sys.exit(exit_codes.PORT)


async def _until_over(dataplane: DataPlane, server: aio.Server, stop: asyncio.Event) -> None:
    """Until it is to stop. Ends the process where the device that computes is lost: it would fail every request."""
    ends = [asyncio.ensure_future(event.wait()) for event in (stop, dataplane.device_is_lost)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    if dataplane.device_is_lost.is_set():
        log.critical("%s", dataplane.lost_device)
        await server.stop(grace=_LAST_WORD_S)
        logging.shutdown()
        os._exit(exit_codes.DEVICE)  # the libraries would hang in taking their state on the device apart


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
