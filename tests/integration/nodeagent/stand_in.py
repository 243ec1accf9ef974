"""The controller's side of an agent, served from the test: it wants what the test says and keeps what it is told."""

import hashlib
import threading
from collections.abc import Mapping
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
from tritonclient.utils import np_to_triton_dtype

from modelyard.packing import list_files, pack
from modelyard.tensors import Array
from modelyard.v1 import agent_pb2, agent_pb2_grpc, registry_pb2, registry_pb2_grpc, resources_pb2
from tests.harness.held_port import hold_port
from tests.harness.programs import wait_for

READY = resources_pb2.REPLICA_STATE_READY
BACKOFF = resources_pb2.REPLICA_STATE_BACKOFF
DRAINING = resources_pb2.REPLICA_STATE_DRAINING
UNHEALTHY = resources_pb2.REPLICA_STATE_UNHEALTHY

_CHUNK_BYTES = 32


# None ends the session.
Outbox = Queue[agent_pb2.DesiredState | agent_pb2.LogRequest | None]


@dataclass
class Log:
    """What an agent has sent of one. `end`: its reason for the end, or "all"; "" before that."""

    said: bytes = b""
    end: str = ""
    refuse_more: threading.Event = field(default_factory=threading.Event)

    def has_ended(self) -> bool:
        return bool(self.end)


class _Servicer(agent_pb2_grpc.AgentServiceServicer, registry_pb2_grpc.RegistryServiceServicer):  # type: ignore[misc]
    """Both services: the agent finds them behind one address."""

    def __init__(self, controller: "StandInController") -> None:
        self._controller = controller

    def Session(self, requests: Any, context: grpc.ServicerContext) -> Any:
        hello = next(requests).hello
        refusal = self._controller.refusal
        if refusal is not None:
            context.abort(*refusal)
        outbox: Outbox = Queue()
        self._controller.greet(hello, outbox)
        threading.Thread(target=self._listen, args=(requests, outbox), daemon=True).start()
        while (message := outbox.get()) is not None:
            if isinstance(message, agent_pb2.LogRequest):
                yield agent_pb2.SessionResponse(log_request=message)
            else:
                yield agent_pb2.SessionResponse(desired=message)

    def SendLog(self, requests: Any, context: grpc.ServicerContext) -> agent_pb2.SendLogResponse:
        log = self._controller.logs[next(requests).request_id]
        for request in requests:
            log.said += request.chunk
            if not request.chunk:
                log.end = request.error or "all"
            if log.refuse_more.is_set():
                break
        return agent_pb2.SendLogResponse()

    def _listen(self, requests: Any, outbox: "Outbox") -> None:
        try:
            for request in requests:
                self._controller.note_report(request.observed, outbox)
        except grpc.RpcError:
            pass
        outbox.put(None)

    def ReadArtifact(self, request: registry_pb2.ReadArtifactRequest, context: grpc.ServicerContext) -> Any:
        self._controller.reads.append(request)
        data = self._controller.files.get(request.sha256)
        if data is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such file")
        for start in range(request.offset_bytes, len(data), _CHUNK_BYTES):
            if start > request.offset_bytes and self._controller.cuts:
                context.abort(self._controller.cuts.pop(), "cut by the test")
            yield registry_pb2.ReadArtifactResponse(chunk=data[start : start + _CHUNK_BYTES])


class StandInController:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.hellos: list[agent_pb2.AgentHello] = []
        self.reports: list[agent_pb2.ObservedState] = []
        self.reads: list[registry_pb2.ReadArtifactRequest] = []
        # Statuses that the next reads of files end with, after their first chunk.
        self.cuts: list[grpc.StatusCode] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self._desired = agent_pb2.DesiredState(generation=1)
        self.logs: dict[str, Log] = {}
        self._outbox: Outbox = Queue()
        self._held = hold_port()  # also while the server is stopped
        self._port = self._held.getsockname()[1]
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Again on the same port, if it was stopped."""
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        servicer = _Servicer(self)
        agent_pb2_grpc.add_AgentServiceServicer_to_server(servicer, self._server)
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, self._server)
        self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        self._outbox.put(None)
        self._server.stop(0).wait()

    def greet(self, hello: agent_pb2.AgentHello, outbox: Outbox) -> None:
        self._outbox = outbox
        self.reports.append(hello.observed)
        self.hellos.append(hello)
        outbox.put(self._desired)

    def note_report(self, observed: agent_pb2.ObservedState, outbox: Outbox) -> None:
        """What a killed agent had still sent may be read after the next one's hello: it is not the newest."""
        if outbox is self._outbox:
            self.reports.append(observed)

    def add_file(self, path: Path) -> resources_pb2.Version:
        """A version of model `scale` with that file."""
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        self.files[sha256] = data
        tensor = resources_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 4])
        return resources_pb2.Version(
            model="scale",
            number=len(self.files),
            format=resources_pb2.MODEL_FORMAT_ONNX,
            sha256=sha256,
            size_bytes=len(data),
            signature=resources_pb2.Signature(inputs=[tensor]),
        )

    def add_folder(
        self, folder: Path, format_: int, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> resources_pb2.Version:
        """A version of model `folded` that is a folder; the first dimension of its tensors varies."""
        data = b"".join(pack(folder, list_files(folder)))
        sha256 = hashlib.sha256(data).hexdigest()
        self.files[sha256] = data
        return resources_pb2.Version(
            model="folded",
            number=len(self.files),
            format=format_,  # type: ignore[arg-type]
            packaging=resources_pb2.PACKAGING_TAR,
            sha256=sha256,
            size_bytes=len(data),
            signature=resources_pb2.Signature(inputs=_specs(inputs), outputs=_specs(outputs)),
        )

    def want(self, **versions: resources_pb2.Version) -> None:
        """Replica-id to its version; each on core 0 with one thread. The whole desired set."""
        self.want_on_core(0, **versions)

    def want_on_core(self, core: int, **versions: resources_pb2.Version) -> None:
        replicas = [
            agent_pb2.DesiredReplica(
                replica_id=replica_id, version=version, allocation=resources_pb2.Allocation(cores=[core], threads=1)
            )
            for replica_id, version in versions.items()
        ]
        self.want_all(*replicas)

    def want_all(self, *replicas: agent_pb2.DesiredReplica) -> None:
        """The whole desired set."""
        self._desired = agent_pb2.DesiredState(generation=self._desired.generation + 1, replicas=replicas)
        self._outbox.put(self._desired)

    def ask_log(self, replica_id: str, **options: Any) -> Log:
        """What the agent sends of it, from now on."""
        request_id = str(len(self.logs))
        log = self.logs[request_id] = Log()
        self._outbox.put(agent_pb2.LogRequest(request_id=request_id, replica_id=replica_id, **options))
        return log

    def seen(self, replica_id: str) -> agent_pb2.ObservedReplica | None:
        """As in the newest report; None where it is not there."""
        replicas = self.reports[-1].replicas if self.reports else []
        return next((replica for replica in replicas if replica.replica_id == replica_id), None)

    def wait_seen(
        self, replica_id: str, state: int, restarts: int = 0, timeout_s: float = 60.0
    ) -> agent_pb2.ObservedReplica:
        def reached() -> agent_pb2.ObservedReplica | None:
            replica = self.seen(replica_id)
            return replica if replica and replica.state == state and replica.restarts >= restarts else None

        name = resources_pb2.ReplicaState.Name(state)  # type: ignore[arg-type]
        found: agent_pb2.ObservedReplica = wait_for(
            reached, lambda: f"{replica_id} {name}; last seen: {self.seen(replica_id)};", timeout_s
        )
        return found

    def wait_told(self, replica_id: str, state: int, words: str = "") -> agent_pb2.ObservedReplica:
        """As it was first told in that state, with these words; it may have left it by now."""

        def find() -> agent_pb2.ObservedReplica | None:
            told = [replica for report in list(self.reports) for replica in report.replicas]
            return next(
                (r for r in told if (r.replica_id, r.state) == (replica_id, state) and words in r.message), None
            )

        name = resources_pb2.ReplicaState.Name(state)  # type: ignore[arg-type]
        found: agent_pb2.ObservedReplica = wait_for(
            find, lambda: f"{replica_id} {name}: {words!r}; last seen: {self.seen(replica_id)};", 60
        )
        return found


def _specs(tensors: Mapping[str, Array]) -> list[resources_pb2.TensorSpec]:
    return [
        resources_pb2.TensorSpec(name=name, datatype=np_to_triton_dtype(array.dtype), shape=[-1, *array.shape[1:]])
        for name, array in tensors.items()
    ]
