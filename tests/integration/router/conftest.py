"""Real routers with a real Envoy, tiny KServe v2 backends, and a stand-in for the controller."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import pytest_asyncio
from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from modelyard.v1 import routing_pb2, routing_pb2_grpc
from router.envoy.admin import Admin
from tests.harness.held_port import hold_port

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def _wait_for(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


class Backend(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers every request with its own name, as the id, and says what it got. `delay_s` holds the answers back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.delay_s = 0.0
        self.status: grpc.StatusCode | None = None
        self.counts: Counter[str] = Counter()
        self._held = hold_port()
        self.port: int = self._held.getsockname()[1]

    async def start(self) -> None:
        self._server = aio.server(options=[*_UNLIMITED, ("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self, grace: float | None = None) -> None:
        """Its port stays its own."""
        await self._server.stop(grace)

    async def close(self) -> None:
        await self.stop()
        self._held.close()

    async def _count(self, method: str, context: Any) -> None:
        self.counts[method] += 1
        await asyncio.sleep(self.delay_s)
        if self.status:
            await context.abort(self.status, f"{self.name} fails")

    def _answer(self, request: service_pb2.ModelInferRequest) -> service_pb2.ModelInferResponse:
        return service_pb2.ModelInferResponse(
            model_name=request.model_name,
            model_version=request.model_version,
            id=self.name,
            raw_output_contents=[str(request.ByteSize()).encode()],
        )

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        await self._count("ModelInfer", context)
        return self._answer(request)

    async def ModelStreamInfer(self, requests: Any, context: Any) -> Any:
        await self._count("ModelStreamInfer", context)
        async for request in requests:
            yield service_pb2.ModelStreamInferResponse(infer_response=self._answer(request))

    async def ModelReady(self, request: Any, context: Any) -> Any:
        await self._count("ModelReady", context)
        return service_pb2.ModelReadyResponse(ready=True)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        await self._count("ModelMetadata", context)
        return service_pb2.ModelMetadataResponse(name=request.name, versions=[request.version], platform=self.name)

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        await self._count("ModelConfig", context)
        return service_pb2.ModelConfigResponse(config={"name": request.name})

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        await self._count("ModelStatistics", context)
        return service_pb2.ModelStatisticsResponse(model_stats=[{"name": request.name, "version": request.version}])


class Controller(routing_pb2_grpc.RoutingServiceServicer):
    """Serves WatchRoutes with the table it was given last, and keeps what routers say."""

    def __init__(self) -> None:
        self.table: routing_pb2.RouteTable | None = None
        self.hellos: list[routing_pb2.RouterHello] = []
        self.status = routing_pb2.RouterStatus()
        self._held = hold_port()
        self.port: int = self._held.getsockname()[1]
        self._changed = asyncio.Event()

    async def start(self) -> None:
        self._server = aio.server(options=[("grpc.so_reuseport", 0)])
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Its port stays its own, for the next start."""
        await self._server.stop(None)

    async def close(self) -> None:
        await self.stop()
        self._held.close()

    def set_table(self, version: int, **routes: Any) -> None:
        """`routes`: see `make_table`."""
        self.table = make_table(version, **routes)
        self._changed.set()

    async def apply(self, version: int, **routes: Any) -> None:
        """Returns when the router has applied it."""
        self.set_table(version, **routes)
        await _wait_for(lambda: self.status.applied_version == version)

    async def WatchRoutes(self, requests: Any, context: Any) -> Any:
        reading = asyncio.create_task(self._read(requests))
        sent = None
        try:
            while True:
                self._changed.clear()  # before the look: a table may come while another one is sent
                if self.table is not None and self.table is not sent:
                    sent = self.table
                    yield routing_pb2.WatchRoutesResponse(table=sent)
                else:
                    await self._changed.wait()
        finally:
            reading.cancel()

    async def _read(self, requests: Any) -> None:
        async for request in requests:
            if request.HasField("hello"):
                self.hellos.append(request.hello)
                self.status = request.hello.status
            else:
                self.status = request.status


def make_table(
    version: int,
    pools: dict[str, list[Backend | tuple[str, int, int]]] | None = None,
    routes: dict[str, str] | None = None,
    not_ready: dict[str, str] | None = None,
    no_retries: tuple[str, ...] = (),
) -> routing_pb2.RouteTable:
    """`pools`: "model/alias@version" -> backends, or (address, port, weight); `routes`: key -> pool.

    `not_ready`: key -> reason; `no_retries`: names of pools.
    """
    table = routing_pb2.RouteTable(version=version)
    for name, backends in (pools or {}).items():
        pool = table.pools.add(name=name, model=name.partition("/")[0], version=int(name.rpartition("@")[2]))
        pool.no_retries = name in no_retries
        for index, backend in enumerate(backends):
            address, port, weight = backend if isinstance(backend, tuple) else ("127.0.0.1", backend.port, 1)
            pool.endpoints.add(replica_id=f"{name}-{index}", address=address, port=port, weight=weight)
    for key, pool_name in (routes or {}).items():
        number = int(pool_name.rpartition("@")[2])
        table.routes.add(key=key, model=key.partition("@")[0], version=number, pool=pool_name)
    for key, reason in (not_ready or {}).items():
        table.routes.add(key=key, model=key.partition("@")[0], reason=reason)
    return table


@dataclass
class Router:
    """A router process. `data` outlives it."""

    data: Path
    controller: Controller
    arguments: tuple[str, ...] = ()
    address: str = ""
    process: asyncio.subprocess.Process = field(init=False)

    async def start(self, *, listen: str = "127.0.0.1:0", timeout_s: float = 40) -> None:
        """Returns when clients can reach it."""
        reader, writer = os.pipe()
        # The drain is long enough for a request that is in flight when this machine stands still for seconds.
        self.process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.harness.patient_router", "--data", str(self.data), "--listen", listen],
            *["--ready-fd", str(writer), "--controller", f"127.0.0.1:{self.controller.port}"],
            *["--drain-timeout-s", "30", *self.arguments],
            pass_fds=[writer],
        )
        os.close(writer)
        with os.fdopen(reader) as pipe:
            line = await asyncio.wait_for(asyncio.to_thread(pipe.readline), timeout_s)
        if not line:
            raise AssertionError(f"the router ended with {await self.process.wait()}")
        self.address = json.loads(line)["address"]

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    @property
    def envoys(self) -> list[psutil.Process]:
        """All that run for this data folder, as the host has them."""
        log = str(self.data.resolve() / "envoy.log")
        return [process for process in psutil.process_iter(["cmdline"]) if log in (process.info["cmdline"] or ())]

    async def read_stats(self, pattern: str) -> dict[str, int]:
        """Those of the one Envoy whose names match the regular expression."""
        (envoy,) = self.envoys
        return await Admin(Path(envoy.cmdline()[2]).with_suffix(".sock"), timeout_s=30).read_stats(pattern)

    async def clean(self) -> None:
        """Leaves nothing, however the test ended."""
        with contextlib.suppress(AttributeError):
            await self.stop()
        for envoy in self.envoys:
            with contextlib.suppress(psutil.NoSuchProcess):
                envoy.kill()


@dataclass
class Load:
    """Unary requests from several workers at once; counts answers by backend, keeps errors."""

    address: str
    requests: list[service_pb2.ModelInferRequest]
    metadata: tuple[tuple[str, str], ...] | None = None
    answers: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    _done: Counter[int] = field(default_factory=Counter)  # by worker
    _stopping: bool = False

    @property
    def total(self) -> int:
        return self.answers.total() + len(self.errors)

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._work(index)) for index in range(8)]
        await _wait_for(lambda: self.total > 50)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def turn_over(self) -> None:
        """Until each worker has the answer to a request that it began after this call."""
        enough = {index: self._done[index] + 2 for index in range(len(self._tasks))}
        await self.wait_for(lambda: all(self._done[index] >= count for index, count in enough.items()))

    async def reach(self, total: int) -> None:
        await self.wait_for(lambda: self.total >= total)

    async def wait_for_answer(self, backend: str) -> None:
        await self.wait_for(lambda: self.answers[backend] > 0)

    async def wait_for(self, condition: Callable[[], Any]) -> None:
        await _wait_for(condition, timeout_s=90)

    async def _work(self, index: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with aio.insecure_channel(self.address, options=options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not self._stopping:
                try:
                    answer = await stub.ModelInfer(
                        self.requests[self.total % len(self.requests)], timeout=20, metadata=self.metadata
                    )
                    self.answers[answer.id] += 1
                except aio.AioRpcError as error:
                    self.errors.append(f"{error.code().name}: {error.details()}")
                self._done[index] += 1


@contextlib.asynccontextmanager
async def _start_backends() -> AsyncIterator[Callable[..., Awaitable[list[Backend]]]]:
    started: list[Backend] = []

    async def start(*names: str) -> list[Backend]:
        made = [Backend(name) for name in names]
        for backend in made:
            await backend.start()
            started.append(backend)
        return made

    yield start
    for backend in started:
        await backend.close()


@pytest.fixture
async def backends() -> AsyncIterator[Callable[..., Awaitable[list[Backend]]]]:
    async with _start_backends() as start:
        yield start


@pytest.fixture
async def controller() -> AsyncIterator[Controller]:
    made = Controller()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def make_router(controller: Controller) -> AsyncIterator[Callable[[Path], Router]]:
    """Makes routers by their data folder, not started."""
    made: list[Router] = []

    def make(data: Path) -> Router:
        made.append(Router(data, controller))
        return made[-1]

    yield make
    for router in reversed(made):
        await router.clean()


@pytest.fixture
def router(tmp_path: Path, make_router: Callable[[Path], Router]) -> Router:
    """Not started."""
    return make_router(tmp_path / "router")


@pytest.fixture
async def running_router(router: Router) -> Router:
    await router.start()
    return router


@pytest.fixture
def load() -> type[Load]:
    return Load


@pytest.fixture
def wait_for() -> Callable[..., Awaitable[None]]:
    return _wait_for


@contextlib.asynccontextmanager
async def _open_stub(address: str) -> AsyncIterator[Any]:
    async with aio.insecure_channel(address, options=_UNLIMITED) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture
def stub_of() -> Callable[[str], contextlib.AbstractAsyncContextManager[Any]]:
    return _open_stub


@pytest.fixture
async def stub(running_router: Router) -> AsyncIterator[Any]:
    async with _open_stub(running_router.address) as stub:
        yield stub


class SharedRouter:
    """A router that serves what one test after another of a file gives it; each takes models of its own names.

    Its tests run in the loop of the file: `pytest.mark.asyncio(loop_scope="module")`.
    """

    def __init__(self, router: Router, controller: Controller, stub: Any) -> None:
        self.router, self.controller, self.stub = router, controller, stub
        self._version = 0

    async def apply(self, **routes: Any) -> None:
        """The next table, of these routes: see `make_table`. Returns when the router has applied it."""
        self._version += 1
        await self.controller.apply(self._version, **routes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SharedRouter]:
    controller = Controller()
    await controller.start()
    router = Router(tmp_path_factory.mktemp("shared") / "router", controller)
    try:
        await router.start()
        async with _open_stub(router.address) as stub:
            yield SharedRouter(router, controller, stub)
    finally:
        await router.clean()
        await controller.close()


@pytest_asyncio.fixture(loop_scope="module")
async def shared_backends() -> AsyncIterator[Callable[..., Awaitable[list[Backend]]]]:
    async with _start_backends() as start:
        yield start
