"""What the server does, apart from how it is reached: KServe v2 messages in and out, errors as domain errors."""

import asyncio
import time
from collections.abc import Sequence
from importlib.metadata import version as package_version
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from modelyard.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError, UnimplementedError
from nodeagent.modelserver import description
from nodeagent.modelserver.admission import Admission
from nodeagent.modelserver.converters import inference_from_request, response_from_outputs
from nodeagent.modelserver.session import Run, Session
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.modelserver.statistics import RequestRecord, Statistics
from nodeagent.modelserver.wire import Buffer
from nodeagent.modelserver.workers import Workers


class DataPlane:
    """The model behind the protocol. For use on one event loop; inferences run on `concurrent_runs` threads."""

    def __init__(self, settings: ServerSettings, session: Session[Any]) -> None:
        self._settings = settings
        self._session = session
        self._version = str(settings.version)
        self._workers = Workers(settings.concurrent_runs, "inference")
        # The agent's canary must not wait behind an inference of minutes: it would look as if nothing worked any more.
        self._canary_worker = Workers(1, "canary")
        self._statistics = Statistics()
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
            concurrent_runs=self._settings.concurrent_runs,
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

    async def infer(self, request: Any, raws: Sequence[Buffer]) -> tuple[Any, list[Buffer]]:
        """The answer to a ModelInferRequest; the raw contents of both go beside the messages. Raises YardError."""
        self._check_name(request.model_name, request.model_version)
        with self.admission.admit():
            accepted, run = time.monotonic_ns(), self._session.begin_run()
            canary = request.id == self._settings.canary_token != ""
            if canary:
                self._check_free()
            workers = self._canary_worker if canary else self._workers
            try:
                answer, record = await workers.run(self._infer, request, raws, accepted, run)
            except BaseException:  # a client that gave up included: others wait for the thread that works for nobody
                run.cancel()
                if not canary:
                    self._statistics.record_failure(accepted=accepted, finished=time.monotonic_ns())
                raise
            if not canary:
                finished, wall_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
                self._statistics.record_success(record, finished=finished, wall_ms=wall_ms)
            return answer

    async def close(self, patience_s: float) -> bool:
        """Ends what still runs, at the next node of its graph, and lets the threads go.

        True when they have gone; False where one of them is in a node for longer than `patience_s` seconds.
        """
        self._workers.close()
        self._canary_worker.close()
        self._session.terminate()
        ended = await asyncio.gather(self._workers.wait_ended(patience_s), self._canary_worker.wait_ended(patience_s))
        return all(ended)

    def _infer(
        self, request: Any, raws: Sequence[Buffer], accepted: int, run: Run
    ) -> tuple[tuple[Any, list[Buffer]], RequestRecord]:
        started = time.monotonic_ns()
        signature = self._session.signature
        inference = inference_from_request(signature, request, raws, self._settings.max_string_elements)
        batch = self._check_batch(int(request.inputs[0].shape[0])) if signature.has_batch_dimension else 1
        decoded = time.monotonic_ns()
        outputs = self._session.run(inference.output_names, inference.feeds, run)
        computed = time.monotonic_ns()
        response = pb.ModelInferResponse(model_name=self._settings.model, model_version=self._version, id=request.id)
        limit = self._settings.max_message_bytes
        raw_outputs = response_from_outputs(signature, inference.output_names, outputs, response, limit)
        record = RequestRecord(batch, accepted, started, decoded, computed, time.monotonic_ns())
        return (response, raw_outputs), record

    def _check_free(self) -> None:
        """Says at once that it is busy, which proves life as well: a canary behind others would look like silence."""
        if self._session.runs_one_at_a_time and self.admission.in_flight > 1:
            raise ResourceExhaustedError("the model computes for others now, one inference at a time: ask again later")

    def _check_batch(self, rows: int) -> int:
        most = self._settings.max_batch_size
        if rows > most:
            raise InvalidArgumentError(f"a batch of {rows} is more than is taken at once, {most}: send it in parts")
        return rows

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
