"""What the server does, apart from how it is reached: KServe v2 messages in and out, errors as domain errors."""

import asyncio
import time
from collections.abc import Sequence
from importlib.metadata import version as package_version
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from modelyard.errors import NotFoundError, ResourceExhaustedError, UnimplementedError
from nodeagent.modelserver import description
from nodeagent.modelserver.admission import Admission
from nodeagent.modelserver.batch import NEVER_MERGED, BatchLimits
from nodeagent.modelserver.inference_queue import InferenceQueue
from nodeagent.modelserver.job import Job
from nodeagent.modelserver.known_requests import Known
from nodeagent.modelserver.metrics import Snapshot
from nodeagent.modelserver.model_runner import Answer, Failure, ModelRunner
from nodeagent.modelserver.session import DeviceLostError, Session
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.modelserver.statistics import RequestRecord, Statistics
from nodeagent.modelserver.wire import Buffer


class DataPlane:
    """The model behind the protocol. For use on one event loop; inferences run on a thread, one at a time.

    More at a time would take more cores than the allocation has threads for: that is what replicas are for.
    """

    def __init__(
        self,
        settings: ServerSettings,
        session: Session[Any],
        batches: BatchLimits = NEVER_MERGED,
        inline_bytes: int = 0,
    ) -> None:
        """`inline_bytes`: the most of a request that is computed on the event loop itself."""
        self._settings = settings
        self._session = session
        self._batches = batches
        self._version = str(settings.version)
        self._loop = asyncio.get_running_loop()
        self._statistics = Statistics()
        runner = ModelRunner(settings, session)
        self._runner, self._inline_run = runner, session.begin_run()
        self._inline_bytes = inline_bytes
        self._queue = InferenceQueue(runner, "inference", batches, self._statistics.record_execution)
        # The agent's canary must not wait behind an inference of minutes: it would look as if nothing worked any more.
        self._canaries = InferenceQueue(ModelRunner(settings, session), "canary")
        # Set once the device that computes is of no use to this process any more; `lost_device` says why.
        self.device_is_lost = asyncio.Event()
        self.lost_device = ""
        self.admission = Admission(settings.max_concurrent_requests)
        self.ready = True

    def server_live(self, _request: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    def server_ready(self, _request: Any) -> Any:
        return pb.ServerReadyResponse(ready=self.ready)

    def server_metadata(self, _request: Any) -> Any:
        return pb.ServerMetadataResponse(
            name="modelyard", version=package_version("modelyard"), extensions=["model_configuration", "statistics"]
        )

    def model_ready(self, request: Any) -> Any:
        return pb.ModelReadyResponse(ready=self.ready and self._serves(request.name, request.version))

    def model_metadata(self, request: Any) -> Any:
        self._check_name(request.name, request.version)
        return description.model_metadata(
            self._settings.model, self._version, self._session.signature, self._session.engine
        )

    def model_config(self, request: Any) -> Any:
        self._check_name(request.name, request.version)
        return description.model_config(
            self._settings.model,
            self._version,
            self._session.signature,
            self._session.engine,
            max_batch_size=self._settings.max_batch_size,
            device=self._settings.device,
            batches=self._batches,
        )

    def model_statistics(self, request: Any) -> Any:
        """Of the one model there is; an empty name means all models."""
        if request.name:
            self._check_name(request.name, request.version)
        response = pb.ModelStatisticsResponse()
        self._statistics.fill(response.model_stats.add(name=self._settings.model, version=self._version))
        return response

    def repository_index(self, request: Any) -> Any:
        if request.repository_name:
            raise UnimplementedError("repositories have no names here: leave repository_name empty")
        response = pb.RepositoryIndexResponse()
        if self.ready or not request.ready:
            state, reason = ("READY", "") if self.ready else ("UNAVAILABLE", "the replica is being stopped")
            response.models.add(name=self._settings.model, version=self._version, state=state, reason=reason)
        return response

    async def infer(
        self,
        request: Any,
        raws: Sequence[Buffer],
        time_left_s: float | None = None,
        known: Known | None = None,
    ) -> tuple[Any, list[Buffer]]:
        """The answer to a ModelInferRequest; the raw contents of both go beside the messages. Raises YardError.

        `time_left_s`: until the caller's deadline, None where there is none. What has not begun by then never does.
        """
        self._check_name(request.model_name, request.model_version)
        accepted = time.monotonic_ns()
        canary = request.id == self._settings.canary_token != ""
        try:
            with self.admission.admit():
                if canary:
                    self._check_free()
                deadline = None if time_left_s is None else accepted + int(time_left_s * 1e9)
                runs_inline = not canary and self._runs_inline(raws, time_left_s)
                run = self._inline_run if runs_inline else self._session.begin_run()
                job = Job(request, raws, run, self._loop.create_future(), request.id, accepted, deadline, known)
                if runs_inline:
                    answer, record = self._infer_inline(job)
                else:
                    answer, record = await (self._canaries if canary else self._queue).run(job)
        except BaseException as error:  # a client that gave up, and one that was refused, included
            if not canary:
                self._statistics.record_failure(duration_ns=time.monotonic_ns() - accepted)
            self._note_lost_device(error)
            raise
        if not canary:
            finished, wall_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
            self._statistics.record_success(record, duration_ns=finished - accepted, wall_ms=wall_ms)
        return answer

    def _runs_inline(self, raws: Sequence[Buffer], time_left_s: float | None) -> bool:
        """Nothing else may be running or waiting: the others came first."""
        return (
            self._inline_bytes > 0
            and self.admission.in_flight == 1
            and 0 < sum([len(raw) for raw in raws]) <= self._inline_bytes
            and (time_left_s is None or time_left_s > 0)
        )

    def _infer_inline(self, job: Job) -> tuple[Answer, RequestRecord]:
        execution = self._runner.run_alone(job, self._runner.decode(job, job.request, job.raws))
        if execution.record:
            self._statistics.record_execution(execution.record)
        [outcome] = execution.outcomes
        if isinstance(outcome, Failure):
            raise outcome.error
        return outcome.answer, outcome.record

    def snapshot(self) -> Snapshot:
        """What the metrics tell, as it is now."""
        in_flight, waiting = self.admission.in_flight, self._queue.waiting
        return Snapshot(self._settings.model, self._version, self._statistics.copy_totals(), in_flight, waiting)

    async def close(self, patience_s: float) -> bool:
        """Ends what still runs, at the next node of its graph, and lets the threads go.

        True when they have gone; False where one of them is in a node for longer than `patience_s` seconds.
        """
        self._queue.close()
        self._canaries.close()
        self._session.terminate()
        ended = await asyncio.gather(self._queue.wait_ended(patience_s), self._canaries.wait_ended(patience_s))
        return all(ended)

    def _note_lost_device(self, error: BaseException) -> None:
        if isinstance(error, DeviceLostError):
            self.lost_device = error.message
            self.device_is_lost.set()

    def _check_free(self) -> None:
        """Says at once that it is busy, which proves life as well: a canary behind others would look like silence."""
        if self._session.runs_one_at_a_time and self.admission.in_flight > 1:
            raise ResourceExhaustedError("the model computes for others now, one inference at a time: ask again later")

    def _check_name(self, name: str, version: str) -> None:
        if not self._serves(name, version):
            asked = f"{name[:100]}@{version[:100]}" if version else name[:100]
            here = f"{self._settings.model}@{self._version}"
            raise NotFoundError(f"this replica serves {here}, not {asked!r}: send the request to the router")

    def _serves(self, name: str, version: str) -> bool:
        """Whether a request may mean this model: which aliases point here only the router knows."""
        model, _, suffix = name.partition("@")
        return model == self._settings.model and all(
            wanted == self._version or not wanted.isdigit() for wanted in (suffix, version)
        )
