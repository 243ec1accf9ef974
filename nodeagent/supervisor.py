"""All replicas of a node: makes what runs here what the controller wants."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from functools import partial

from modelyard.errors import InvalidArgumentError
from modelyard.processes import ProcessIdentity
from modelyard.v1 import agent_pb2
from nodeagent import replica_events as events
from nodeagent import server_process
from nodeagent.devices.gpu_access import GpuAccess
from nodeagent.devices.gpus import GpuCondition
from nodeagent.gpu_inventory import tell_conditions
from nodeagent.replica_actor import ReplicaActor
from nodeagent.replica_folder import ReplicaFolder, RunRecord, spares_beside
from nodeagent.replica_spec import ReplicaSpec, parse_spec
from nodeagent.server_process import ServerProcess
from nodeagent.workshop import Workshop

log = logging.getLogger(__name__)

# After a defect of the agent itself: long enough that it cannot become a hot loop.
_AFTER_DEFECT_S = 5.0


class Supervisor:
    """`read_gpus`: how each GPU is that the node offers."""

    def __init__(self, workshop: Workshop, read_gpus: Callable[[], Sequence[GpuCondition]] = tuple) -> None:
        self.workshop = workshop
        self._read_gpus = read_gpus
        # Set whenever `observed` may tell something new; whoever reports clears it.
        self.changed = asyncio.Event()
        self._desired: dict[str, ReplicaSpec] = {}
        self._generation = 0
        self._actors: dict[str, ReplicaActor] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._evictions: set[asyncio.Task[None]] = set()
        self._leaving = False
        self._told_at_last: agent_pb2.ObservedState | None = None

    def set_desired(self, desired: agent_pb2.DesiredState) -> None:
        """What is not in it is drained and stopped; what is in it and not here is started."""
        if self._leaving:
            return
        self._desired = {spec.replica_id: spec for spec in _parse_specs(desired)}
        self._generation = desired.generation
        self.changed.set()
        self._converge()

    def observed(self) -> agent_pb2.ObservedState:
        if self._told_at_last is not None:
            return self._told_at_last
        replicas = [actor.observed() for actor in self._actors.values()]
        gpus = tell_conditions(self._read_gpus())
        return agent_pb2.ObservedState(generation=self._generation, replicas=replicas, gpus=gpus)

    def find_folder(self, replica_id: str) -> ReplicaFolder | None:
        """Of a replica that is here, made or not; None where it is not here."""
        actor = self._actors.get(replica_id)
        return actor.folder if actor else None

    async def adopt(self) -> None:
        """Takes over what an earlier agent left running, and knows how it does when this returns.

        Processes that nothing is known of are ended, and what is left of ended ones is removed.
        """
        self.workshop.replicas.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders = [ReplicaFolder(path) for path in sorted(self.workshop.replicas.iterdir())]
        found = [running for folder in folders if (running := _find_running(folder))]
        # Before anything is started: what is started from here on must not be taken for a stray.
        await _end_strays(
            str(self.workshop.replicas), {process.identity.pid for _, process in found}, self.workshop.gpus
        )
        await asyncio.to_thread(shutil.rmtree, spares_beside(self.workshop.replicas), ignore_errors=True)
        await asyncio.to_thread(self.workshop.box.remove_all_but, {record.spec.replica_id for record, _ in found})
        for record, process in found:
            log.info("replica %s: adopting process %d", record.spec.replica_id, process.identity.pid)
            self._desired[record.spec.replica_id] = record.spec
            self._add(record.spec).adopt(record, process)
        await self._wait_probed()

    async def _wait_probed(self) -> None:
        probes = [asyncio.ensure_future(actor.probed.wait()) for actor in self._actors.values()]
        if probes:
            _, late = await asyncio.wait(probes, timeout=self.workshop.limits.probe_timeout_s + 1.0)
            for probe in late:
                probe.cancel()

    async def stop_all(self) -> None:
        """Drains and stops every replica; returns when none is left."""
        self._leaving, self._desired = True, {}
        self._converge()
        while left := self._runs | self._evictions:
            await asyncio.wait(left)

    async def leave_all(self) -> None:
        """Lets go of every replica; their processes go on, for the next agent to adopt."""
        # They serve on: one that the controller heard nothing of any more would be taken off the routes.
        self._told_at_last = self.observed()
        self._leaving = True
        for run in self._runs:
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)

    def _converge(self) -> None:
        for replica_id, actor in self._actors.items():
            if self._desired.get(replica_id) != actor.spec:
                # Where it is wanted otherwise, it is started anew after the old one has gone.
                actor.tell(events.Unwanted())
        for replica_id, spec in self._desired.items():
            if replica_id not in self._actors and not self._leaving:
                self._add(spec).tell(events.Wanted())

    def _add(self, spec: ReplicaSpec) -> ReplicaActor:
        actor = ReplicaActor(spec, self.workshop, on_change=self.changed.set, files_in_use=self._files_in_use)
        self._actors[spec.replica_id] = actor
        run = asyncio.create_task(actor.run())
        self._runs.add(run)
        run.add_done_callback(partial(self._on_gone, spec.replica_id))
        return actor

    def _on_gone(self, replica_id: str, run: "asyncio.Task[None]") -> None:
        self._runs.discard(run)
        del self._actors[replica_id]
        self.changed.set()
        if run.cancelled():
            return
        if error := run.exception():
            log.critical("replica %s: defect of the agent", replica_id, exc_info=error)
            asyncio.get_running_loop().call_later(_AFTER_DEFECT_S, self._converge)
        else:
            self._converge()
        self._evict()

    def _evict(self) -> None:
        eviction = asyncio.create_task(self.workshop.cache.evict(self._files_in_use))
        self._evictions.add(eviction)
        eviction.add_done_callback(self._evictions.discard)

    def _files_in_use(self) -> set[str]:
        """Of what runs, and of what is to take its place."""
        specs = (*self._desired.values(), *(actor.spec for actor in self._actors.values()))
        return {spec.sha256 for spec in specs} | {spec.sample.sha256 for spec in specs if spec.sample}


def _find_running(folder: ReplicaFolder) -> tuple[RunRecord, ServerProcess] | None:
    """What an earlier agent left running there; what it left of an ended one is removed."""
    record = folder.load()
    process = server_process.adopt(record.process, record.marker or str(folder.path)) if record else None
    if record and process:
        return record, process
    folder.remove()
    return None


def _parse_specs(desired: agent_pb2.DesiredState) -> list[ReplicaSpec]:
    specs = []
    for replica in desired.replicas:
        try:
            specs.append(parse_spec(replica))
        except InvalidArgumentError as error:
            log.error("the controller wants what cannot be: %s", error.message)
    return specs


async def _end_strays(replicas: str, adopted: set[int], gpus: GpuAccess) -> None:
    """Processes of replicas whose record is gone or cannot be read: nobody will ever ask for them."""
    # A server leads its session, so that what it started itself is known by it.
    strays = await asyncio.to_thread(server_process.find_marked, replicas, adopted)
    # At once: each may take seconds, and nobody looks after what is adopted meanwhile.
    await asyncio.gather(*(_end_stray(identity, gpus) for identity in strays))


async def _end_stray(identity: ProcessIdentity, gpus: GpuAccess) -> None:
    log.warning("ending process %d: an earlier agent left it, and no record of it", identity.pid)
    await gpus.end_client(None, identity.pid)
    await identity.stop(grace_s=0.0)
