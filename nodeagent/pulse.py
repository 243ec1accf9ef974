"""Whether a server does anything at all: asked for no work, and looked at while it does not answer."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelyard.addresses import format_address

# A connection of its own: here no tensor is on its way before the answer.
_OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
_READY_POLL_S = 0.05
_READY_TIMEOUT_S = 5.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Activity:
    """Of all threads of a process: their states, as letters of proc(5), and the share of one core that they used."""

    thread_states: str
    cpu_share: float


async def wait_server_ready(host: str, port: int) -> None:
    """Until the server there says that it is ready."""
    async with aio.insecure_channel(format_address(host, port), options=_OWN_CONNECTION) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while True:
            with suppress(aio.AioRpcError):  # not listening yet
                if (await stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=_READY_TIMEOUT_S)).ready:
                    return
            await asyncio.sleep(_READY_POLL_S)


async def feel_pulse(pid: int, host: str, port: int, interval_s: float) -> AsyncGenerator[Activity | None, None]:
    """At least every `interval_s` seconds: None where the server has answered, or what its process does meanwhile.

    One question stays open until it is answered: were it given up and asked anew, a slow answer would never count,
    neither would one that came while this process itself was held up. Raises psutil.NoSuchProcess when it has ended.
    """
    async with aio.insecure_channel(format_address(host, port), options=_OWN_CONNECTION) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while True:
            meter, asking = ActivityMeter(pid), asyncio.create_task(_ask(stub))
            try:
                while not (await asyncio.wait({asking}, timeout=interval_s))[0]:
                    yield meter.read()
                asking.result()
            finally:
                asking.cancel()
            yield None
            await asyncio.sleep(interval_s)


async def _ask(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    with suppress(aio.AioRpcError):  # a refusal is no silence; probes find out what is wrong
        await stub.ServerLive(service_pb2.ServerLiveRequest())


class ActivityMeter:
    def __init__(self, pid: int) -> None:
        """Raises psutil.NoSuchProcess, as `read` does."""
        self._pid = pid
        self._at, self._cpu_s = time.monotonic(), _read_cpu_s(pid)

    def read(self) -> Activity:
        """`cpu_share` is the mean since the last reading."""
        at, cpu_s = time.monotonic(), _read_cpu_s(self._pid)
        share = (cpu_s - self._cpu_s) / max(at - self._at, 1 / _TICKS_PER_S)
        self._at, self._cpu_s = at, cpu_s
        return Activity(_read_thread_states(self._pid), share)


def _read_cpu_s(pid: int) -> float:
    """User and system time of all its threads, those that have ended included."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _read_thread_states(pid: int) -> str:
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # this thread has just ended
            states.append(stat.read_text().rpartition(") ")[2][0])
    return "".join(states)
