"""One replica: performs what its state machine commands, and tells it what happens."""

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modelyard.errors import UnavailableError, YardError
from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent import replica_commands as commands
from nodeagent import replica_events as events
from nodeagent import replica_machine as machine
from nodeagent import server_process
from nodeagent.cache import ArtifactCache
from nodeagent.canary import Prober
from nodeagent.devices.gpu_access import GpuAccess, NoGpus
from nodeagent.modelserver.canary_token import CANARY_TOKEN_VARIABLE
from nodeagent.replica_folder import ReplicaFolder, RunRecord
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.replica_state import Limits, Replica, State
from nodeagent.running_server import RunningServer, ServerFacts
from nodeagent.runtimes.base import Launch, Runtime, choose_runtime
from nodeagent.server_process import LaunchPlan, ServerProcess

log = logging.getLogger(__name__)


@dataclass
class Workshop:
    """What all replicas of a node share."""

    replicas: Path
    cache: ArtifactCache
    runtimes: Sequence[Runtime]
    limits: Limits
    max_message_bytes: int
    log_limit_bytes: int
    gpus: GpuAccess = field(default_factory=NoGpus)
    # Where replicas listen; "" until it is known.
    host: str = ""

    def runtime_called(self, name: str) -> Runtime:
        """The first where there is none of that name: earlier releases kept no name, and had one."""
        return next((runtime for runtime in self.runtimes if runtime.name == name), self.runtimes[0])


class ReplicaActor:
    """`on_change` is called whenever `observed` may tell something new; `files_in_use` gives the checksums of files
    that may not leave the cache."""

    def __init__(
        self,
        spec: ReplicaSpec,
        workshop: Workshop,
        *,
        on_change: Callable[[], None],
        files_in_use: Callable[[], Collection[str]],
    ) -> None:
        self.spec = spec
        # Set once it is known how an adopted process does.
        self.probed = asyncio.Event()
        self._workshop = workshop
        self._on_change = on_change
        self._files_in_use = files_in_use
        self._folder = ReplicaFolder(workshop.replicas / spec.replica_id)
        self._replica = Replica()
        self._events: asyncio.Queue[events.Event] = asyncio.Queue()
        self._fetching: asyncio.Task[None] | None = None
        self._file = Path()
        self._server: RunningServer | None = None
        self._reported = agent_pb2.ObservedReplica()
        # False while a full disk keeps its record from being stored.
        self._recorded = True

    def tell(self, event: events.Event) -> None:
        self._events.put_nowait(event)

    def adopt(self, record: RunRecord, process: ServerProcess) -> None:
        """In place of telling that it is wanted."""
        facts = ServerFacts(record.host, record.canary_token, record.runtime, record.planned_port, record.metrics_port)
        explain = self._workshop.runtime_called(record.runtime).explain_exit
        self._server = RunningServer(process, self._folder, facts, 1, self.tell, explain_exit=explain)
        if record.port:
            self._server.watch_pulse(record.port)
        else:
            self._server.await_listening()
            self.probed.set()  # its start may take long: nobody is to wait for that
        self.tell(events.Adopted(record.port, record.restarts, record.canary_s))

    def observed(self) -> agent_pb2.ObservedReplica:
        replica = self._replica
        again = f" (tried again after a pause; failure {replica.failures} in a row)"
        return agent_pb2.ObservedReplica(
            replica_id=self.spec.replica_id,
            model=self.spec.model,
            version=self.spec.version,
            state=_WIRE_STATES[replica.state],
            port=replica.port,
            restarts=replica.restarts,
            pid=self._server.identity.pid if self._server else 0,
            message=replica.message + (again if replica.state is State.BACKOFF else ""),
            runtime=self._server.facts.runtime if self._server else "",
            metrics_port=self._server.metrics_port if self._server else 0,
        )

    async def run(self) -> None:
        """Until the replica has stopped. Cancelled, it leaves the process as it is."""
        try:
            while self._replica.state is not State.STOPPED:
                await self._step(await self._next_event())
            self._folder.remove()
        except Exception:
            self._send_signal(signal.SIGKILL)  # nobody will look after it any more
            raise
        finally:
            await self._end_fetch()
            await self._let_go()

    async def _next_event(self) -> events.Event:
        wake_at = self._replica.wake_at
        timeout = None if wake_at is None else max(0.0, wake_at - time.monotonic())
        try:
            async with asyncio.timeout(timeout):
                return await self._events.get()
        except TimeoutError:
            return events.Due()

    async def _step(self, event: events.Event) -> None:
        if isinstance(event, events.Exited):
            await self._let_go()
            self._workshop.gpus.close(self.spec.replica_id)
            self._folder.forget()
        before = self._replica
        self._replica, commands = machine.handle(before, event, time.monotonic(), self._workshop.limits)
        self._follow_change(before, self._replica)
        for command in commands:
            await self._perform(command)
        self._report_change()  # a launch gives it a pid
        if isinstance(event, events.ProbeOk | events.ProbeFailed | events.Exited):
            self.probed.set()

    def _follow_change(self, before: Replica, after: Replica) -> None:
        ready = after.state is State.READY
        if after.started != before.started or (ready and (before.state is State.STARTING or not self._recorded)):
            self._store_record(after)
        if after.state is not before.state:
            bad = after.state in (State.UNHEALTHY, State.BACKOFF) and before.state is not State.NEW
            why = f": {after.message}" if after.message else ""
            log.log(
                logging.WARNING if bad else logging.INFO, "replica %s is %s%s", self.spec.replica_id, after.state, why
            )
        self._report_change()

    def _report_change(self) -> None:
        """Only what is reported counts: each probe changes the replica, and would send the node's whole state."""
        if (now := self.observed()) != self._reported:
            self._reported = now
            self._on_change()

    async def _perform(self, command: commands.Command) -> None:
        match command:
            case commands.FetchArtifact():
                self._fetching = asyncio.create_task(self._fetch())
            case commands.CancelFetch():
                self._cancel_fetch()
            case commands.Launch(launch):
                await self._launch(launch)
            case commands.Probe(_, timeout_s):
                self._probe(timeout_s)
            case commands.Terminate():
                self._send_signal(signal.SIGTERM)
            case commands.Kill():
                await self._kill()

    async def _fetch(self) -> None:
        spec = self.spec
        try:
            self._file = await self._workshop.cache.fetch(
                spec.sha256, spec.size_bytes, self._files_in_use, is_packed=spec.is_packed
            )
        except YardError as error:
            self.tell(events.FetchFailed(f"the model file cannot be had: {error.message}"))
        except Exception as error:
            log.exception("replica %s: fetching its file", spec.replica_id)
            self.tell(events.FetchFailed(f"the model file cannot be stored here: {error}"))
        else:
            self.tell(events.Fetched())

    def _cancel_fetch(self) -> None:
        if self._fetching:
            self._fetching.cancel()

    async def _end_fetch(self) -> None:
        """Waits, so that what it has begun to download is nobody's any more and may be removed."""
        self._cancel_fetch()
        if self._fetching:
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _launch(self, launch: int) -> None:
        try:
            runtime = choose_runtime(self._workshop.runtimes, self.spec)
            gpu = await self._open_gpu()
            process, facts = await asyncio.to_thread(self._start_process, runtime, gpu)
        except (YardError, OSError, ValueError) as error:
            self.tell(events.LaunchFailed(launch, f"the model server cannot be started: {error}"))
        else:
            self._server = RunningServer(
                process, self._folder, facts, launch, self.tell, explain_exit=runtime.explain_exit
            )
            self._server.await_listening()
            self.tell(events.Launched(launch))

    async def _open_gpu(self) -> Mapping[str, str]:
        """The environment that gives its process its share of a GPU."""
        share = self.spec.gpu
        return await self._workshop.gpus.open(self.spec.replica_id, share) if share else {}

    def _start_process(self, runtime: Runtime, gpu: Mapping[str, str]) -> tuple[ServerProcess, ServerFacts]:
        host = self._workshop.host
        if not host:
            raise UnavailableError("this node's address is not known before it has reached the controller")
        self._folder.prepare()
        plan = runtime.plan(Launch(self.spec, self._file, self._folder.path, host))
        facts = ServerFacts(host, secrets.token_hex(16), runtime.name, plan.port, plan.metrics_port)
        environment = {**plan.environment, **gpu, CANARY_TOKEN_VARIABLE: facts.canary_token}
        process = server_process.launch(LaunchPlan(self._folder, plan.command, environment, self.spec.cores))
        return process, facts

    def _probe(self, timeout_s: float) -> None:
        server, port = self._server, self._replica.port
        if server:
            with suppress(OSError):  # a full disk: no reason to end what serves
                self._folder.trim_log(self._workshop.log_limit_bytes)
            limit, facts = self._workshop.max_message_bytes, server.facts
            server.probe(partial(Prober, self.spec, facts.host, port, limit, facts.canary_token), timeout_s)

    async def _kill(self) -> None:
        # A process that is killed in the middle of its work on a GPU takes others on it along.
        if self._server and self.spec.gpu:
            await self._workshop.gpus.end_client(self.spec.gpu, self._server.identity.pid)
        self._send_signal(signal.SIGKILL)

    def _send_signal(self, number: signal.Signals) -> None:
        if self._server:
            self._server.send_signal(number)

    def _store_record(self, replica: Replica) -> None:
        if server := self._server:
            recorded_before = self._recorded
            try:
                self._folder.store(self._make_record(replica, server))
                self._recorded = True
            except OSError as error:  # it serves all the same
                self._recorded = False
                if recorded_before:
                    log.warning("replica %s: the next agent could not adopt it: %s", self.spec.replica_id, error)

    def _make_record(self, replica: Replica, server: RunningServer) -> RunRecord:
        return RunRecord(
            spec=self.spec,
            process=server.identity,
            host=server.facts.host,
            port=replica.port,
            restarts=replica.restarts,
            canary_s=replica.canary_s,
            canary_token=server.facts.canary_token,
            runtime=server.facts.runtime,
            planned_port=server.facts.planned_port,
            metrics_port=server.metrics_port,
        )

    async def _let_go(self) -> None:
        server, self._server = self._server, None
        if server:
            await server.let_go()


_WIRE_STATES = {
    State.NEW: resources_pb2.REPLICA_STATE_PENDING,
    State.FETCHING: resources_pb2.REPLICA_STATE_FETCHING,
    State.STARTING: resources_pb2.REPLICA_STATE_STARTING,
    State.READY: resources_pb2.REPLICA_STATE_READY,
    State.UNHEALTHY: resources_pb2.REPLICA_STATE_UNHEALTHY,
    State.BACKOFF: resources_pb2.REPLICA_STATE_BACKOFF,
    State.DRAINING: resources_pb2.REPLICA_STATE_DRAINING,
    State.STOPPED: resources_pb2.REPLICA_STATE_STOPPED,
}
