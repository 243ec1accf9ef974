"""One replica: performs what its state machine commands, and tells it what happens."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from modelyard.errors import YardError
from modelyard.v1 import agent_pb2
from nodeagent import replica_commands as commands
from nodeagent import replica_events as events
from nodeagent import replica_machine as machine
from nodeagent.canary import Prober
from nodeagent.replica_files import ReplicaFiles, fetch_files
from nodeagent.replica_folder import ReadyLine, ReplicaFolder, RunRecord
from nodeagent.replica_report import make_record, make_report
from nodeagent.replica_spec import ReplicaSpec
from nodeagent.replica_start import start_server
from nodeagent.replica_state import Replica, State
from nodeagent.running_server import RunningServer, ServerFacts
from nodeagent.runtimes.base import Launch, Runtime, choose_runtime
from nodeagent.server_process import ServerProcess
from nodeagent.start_times import StartMoments, StartTimes, compute_start_times
from nodeagent.workshop import Workshop

log = logging.getLogger(__name__)


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
        self._files = ReplicaFiles(Path())
        self._server: RunningServer | None = None
        self._moments = StartMoments()
        self._start_times: StartTimes | None = None
        self._reported = agent_pb2.ObservedReplica()
        # False while a full disk keeps its record from being stored.
        self._recorded = True

    @property
    def folder(self) -> ReplicaFolder:
        return self._folder

    def tell(self, event: events.Event) -> None:
        self._events.put_nowait(event)

    def adopt(self, record: RunRecord, process: ServerProcess) -> None:
        """In place of telling that it is wanted."""
        facts = ServerFacts(record.host, record.canary_token, record.runtime, record.planned_port, record.metrics_port)
        server = self._hold(process, facts, 1, self._workshop.runtime_called(record.runtime))
        self._start_times = record.start_times
        if record.port:
            server.watch_pulse(record.port)
        else:
            server.await_listening()
            self.probed.set()  # its start may take long: nobody is to wait for that
        self.tell(events.Adopted(record.port, record.restarts, record.canary_s))
        if share := self.spec.gpu:
            self._workshop.gpus.resume(self.spec.replica_id, share, self._lose_gpu)

    def observed(self) -> agent_pb2.ObservedReplica:
        return make_report(self.spec, self._replica, self._server, self._start_times)

    async def run(self) -> None:
        """Until the replica has stopped. Cancelled, it leaves the process as it is."""
        try:
            while self._replica.state is not State.STOPPED:
                await self._step(await self._next_event())
            if self._replica.failures or self._replica.restarts:
                await asyncio.to_thread(self._workshop.ended_logs.keep, self._folder)
            self._folder.remove()
        except Exception:
            await self._kill()  # nobody will look after it any more
            self._workshop.gpus.close(self.spec.replica_id)
            raise
        finally:
            await self._end_fetch()
            self._end_start()
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
            await asyncio.to_thread(self._workshop.box.remove, self.spec.replica_id)
            self._folder.forget()
        before = self._replica
        self._replica, commands = machine.handle(before, event, time.monotonic(), self._workshop.limits)
        if self._server and before.state is State.STARTING and self._replica.state is State.READY:
            self._note_start(self._server)
        if before.state is State.STARTING and self._replica.state is not State.STARTING:
            self._end_start()
        self._follow_change(before, self._replica)
        for command in commands:
            await self._perform(command)
        self._report_change()  # a launch gives it a pid
        if isinstance(event, events.ProbeOk | events.ProbeFailed | events.Exited):
            self.probed.set()

    def _note_start(self, server: RunningServer) -> None:
        said = server.ready_line or ReadyLine(0)
        moments = replace(self._moments, listening=server.listening_at, answered=time.monotonic())
        # Of one that was adopted while it started the beginning was seen by an agent that has gone.
        if moments.wanted:
            moments = replace(moments, began=said.began, loaded=said.loaded, warm=said.warm)
            self._start_times = compute_start_times(moments)

    def _end_start(self) -> None:
        """Others may have the cores now."""
        self._workshop.slots.give_back(self.spec.replica_id)
        self._workshop.spares.note_started(self.spec.replica_id)

    def _follow_change(self, before: Replica, after: Replica) -> None:
        ready = after.state is State.READY
        if after.started != before.started or (ready and (before.state is State.STARTING or not self._recorded)):
            self._store_record(after)
        if after.state is not before.state:
            bad = after.state in (State.UNHEALTHY, State.BACKOFF) and before.state is not State.NEW
            why = f": {after.message}" if after.message and after.message != before.message else ""
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
                self._moments, self._start_times = StartMoments(wanted=time.monotonic()), None
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
        try:
            self._files = await fetch_files(self.spec, self._workshop.cache, self._files_in_use)
        except YardError as error:
            self.tell(events.FetchFailed(error.message))
        else:
            self._moments = replace(self._moments, fetched=time.monotonic())
            await self._workshop.slots.take(self.spec.replica_id, self.spec.cores)
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
            files, host = self._files, self._workshop.host
            start = Launch(self.spec, files.model, self._folder.path, host, files.sample)
            process, facts = await start_server(start, runtime, self._workshop, self._lose_gpu)
        except (YardError, OSError, ValueError) as error:
            self._workshop.gpus.close(self.spec.replica_id)
            self.tell(events.LaunchFailed(launch, f"the model server cannot be started: {error}"))
        else:
            self._hold(process, facts, launch, runtime).await_listening()
            self.tell(events.Launched(launch))

    def _hold(self, process: ServerProcess, facts: ServerFacts, launch: int, runtime: Runtime) -> RunningServer:
        spec, workshop = self.spec, self._workshop
        server = self._server = RunningServer(
            process,
            self._folder,
            facts,
            launch,
            self.tell,
            explain_exit=runtime.explain_exit,
            count_oom_kills=partial(workshop.box.oom_kills, spec.replica_id),
            take_off_gpu=partial(self._take_off_gpu, process.identity.pid),
            pulse_interval_s=workshop.limits.pulse_interval_s,
        )
        server.watch_memory(workshop.memory, spec.memory_bytes, is_stated=not spec.is_memory_estimated)
        return server

    def _lose_gpu(self, reason: str) -> None:
        self.tell(events.DeviceLost(reason))

    def _probe(self, timeout_s: float) -> None:
        server, port = self._server, self._replica.port
        if server:
            with suppress(OSError):  # a full disk: no reason to end what serves
                self._folder.trim_log(self._workshop.log_limit_bytes)
            limit, facts = self._workshop.max_message_bytes, server.facts
            server.probe(partial(Prober, self.spec, facts.host, port, limit, facts.canary_token), timeout_s)

    async def _kill(self) -> None:
        if self._server:
            await self._take_off_gpu(self._server.identity.pid)
        self._send_signal(signal.SIGKILL)

    async def _take_off_gpu(self, pid: int) -> None:
        """What is killed in the middle of its work on a GPU takes others on it along."""
        if self.spec.gpu:
            await self._workshop.gpus.end_client(self.spec.gpu, pid)

    def _send_signal(self, number: signal.Signals) -> None:
        if self._server:
            self._server.send_signal(number)

    def _store_record(self, replica: Replica) -> None:
        if server := self._server:
            recorded_before = self._recorded
            try:
                self._folder.store(make_record(self.spec, replica, server, self._start_times))
                self._recorded = True
            except OSError as error:  # it serves all the same
                self._recorded = False
                if recorded_before:
                    log.warning("replica %s: the next agent could not adopt it: %s", self.spec.replica_id, error)

    async def _let_go(self) -> None:
        server, self._server = self._server, None
        if server:
            await server.let_go()
