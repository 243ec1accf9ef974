"""What happens to requests on the thread that runs the model: decoded, run, several at once or alone, encoded."""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tritonclient.grpc import service_pb2 as pb

from modelyard.errors import InvalidArgumentError
from modelyard.tensors import Array
from nodeagent.modelserver.batch import BatchKey, batch_key, merge, split
from nodeagent.modelserver.converters import (
    Inference,
    inference_from_layout,
    inference_from_request,
    layout_of,
    raws_from_outputs,
    response_from_outputs,
)
from nodeagent.modelserver.job import Job
from nodeagent.modelserver.known_requests import MOST_ANSWERS
from nodeagent.modelserver.session import DeviceLostError, Session
from nodeagent.modelserver.settings import ServerSettings
from nodeagent.modelserver.statistics import ExecutionRecord, RequestRecord
from nodeagent.modelserver.wire import Buffer

log = logging.getLogger(__name__)

Answer = tuple[Any, list[Buffer]]


class Success(NamedTuple):
    """A job that got its answer, and where its time went."""

    job: Job
    answer: Answer
    record: RequestRecord


class Failure(NamedTuple):
    job: Job
    error: Exception


Outcome = Success | Failure


class Execution(NamedTuple):
    """What became of all jobs of one run. `record` is None where the model computed nothing."""

    outcomes: Sequence[Outcome]
    record: ExecutionRecord | None = None


class ModelRunner:
    """For one thread at a time, save `decode` and `run_alone`, which any may call."""

    def __init__(self, settings: ServerSettings, session: Session[Any]) -> None:
        self._settings = settings
        self._session = session
        self._version = str(settings.version)
        # Until the model is seen to give other rows than it took.
        self._may_merge = session.signature.has_batch_dimension

    def decode(self, job: Job, request: Any, raws: Sequence[Buffer]) -> Inference:
        """What the request asks for; the job is told its rows. Raises YardError."""
        started = time.monotonic_ns()
        known = job.known
        if known and known.layout and len(raws) == len(known.layout.tensors):
            job.rows, inference = known.rows, inference_from_layout(known.layout, raws)
        else:
            inference = self._decode_unknown(job, request, raws)
        job.decode_ns = time.monotonic_ns() - started
        return inference

    def _decode_unknown(self, job: Job, request: Any, raws: Sequence[Buffer]) -> Inference:
        signature = self._session.signature
        inference = inference_from_request(signature, request, raws, self._settings.max_string_elements)
        if signature.has_batch_dimension:
            job.rows = self._check_batch(int(request.inputs[0].shape[0]))
        if job.known and raws:
            job.known.rows, job.known.layout = job.rows, layout_of(signature, request, inference)
        return inference

    def find_key(self, job: Job) -> BatchKey | None:
        """What a decoded job may be merged with: those of the same key; None: it must run alone."""
        inference = job.inference
        return batch_key(self._session.signature, inference) if self._may_merge and inference else None

    def run_alone(self, job: Job, inference: Inference) -> Execution:
        started = time.monotonic_ns()
        try:
            outputs = self._session.run(inference.output_names, inference.feeds, job.run)
            if self._may_merge:
                self._note_rows(outputs, job.rows)
        except Exception as error:
            return Execution((Failure(job, error),))
        return self._encode(((job, inference, outputs),), started, started, time.monotonic_ns())

    def run_together(self, jobs: Sequence[tuple[Job, Inference]]) -> Iterator[Execution]:
        """All of them in one run; where that fails, each alone, so that only the guilty one does."""
        try:
            yield self._run_merged(jobs)
        except DeviceLostError as error:
            yield Execution([Failure(job, error) for job, _ in jobs])
        except Exception as error:
            log.debug("%d requests failed together, and are run one by one: %s", len(jobs), error)
            for job, inference in jobs:
                job.companions = ()  # given up from here on, it stops its own run
                if not job.is_given_up:
                    yield self.run_alone(job, inference)

    def _run_merged(self, jobs: Sequence[tuple[Job, Inference]]) -> Execution:
        started = time.monotonic_ns()
        feeds = merge([inference.feeds for _, inference in jobs])
        merged = time.monotonic_ns()
        outputs = self._session.run(jobs[0][1].output_names, feeds, jobs[0][0].run)
        computed = time.monotonic_ns()
        parts = self._split(outputs, [job.rows for job, _ in jobs])
        return self._encode([(*job, part) for job, part in zip(jobs, parts, strict=True)], started, merged, computed)

    def _note_rows(self, outputs: Sequence[Array], rows: int) -> None:
        """A model that gives other rows than it takes may by chance give as many as several requests have together."""
        for output in outputs:
            if output.shape[:1] != (rows,):
                self._stop_merging(f"an output of shape {list(output.shape)} came of {rows} rows")
                return

    def _split(self, outputs: Sequence[Array], rows: Sequence[int]) -> list[list[Array]]:
        try:
            return split(outputs, rows)
        except ValueError as error:
            self._stop_merging(str(error))
            raise

    def _stop_merging(self, reason: str) -> None:
        self._may_merge = False
        log.warning("requests are not merged any more: %s", reason)

    def _encode(
        self, done: Sequence[tuple[Job, Inference, list[Array]]], started: int, merged: int, computed: int
    ) -> Execution:
        outcomes: list[Outcome] = []
        rows, decode_ns = 0, 0
        input_ns, infer_ns = merged - started, computed - merged
        for job, inference, outputs in done:
            rows += job.rows
            decode_ns += job.decode_ns
            try:
                answer = self._answer(job, inference, outputs)
            except Exception as error:
                outcomes.append(Failure(job, error))
                continue
            queue_ns = started - job.accepted - job.decode_ns
            output_ns = time.monotonic_ns() - computed
            record = RequestRecord(job.rows, max(0, queue_ns), input_ns + job.decode_ns, infer_ns, output_ns)
            outcomes.append(Success(job, answer, record))
        output_ns = time.monotonic_ns() - computed
        return Execution(outcomes, ExecutionRecord(rows, input_ns + decode_ns, infer_ns, output_ns))

    def _answer(self, job: Job, inference: Inference, outputs: Sequence[Array]) -> Answer:
        signature, limit = self._session.signature, self._settings.max_message_bytes
        kinds = job.known.answers if job.known else {}
        shapes = tuple([output.shape for output in outputs])
        if response := kinds.get(shapes):
            return response, raws_from_outputs(signature, inference.output_names, outputs, limit)
        response = pb.ModelInferResponse(
            model_name=self._settings.model, model_version=self._version, id=job.request_id
        )
        raws = response_from_outputs(signature, inference.output_names, outputs, response, limit)
        if len(kinds) < MOST_ANSWERS:
            kinds[shapes] = response
        return response, raws

    def _check_batch(self, rows: int) -> int:
        most = self._settings.max_batch_size
        if rows > most:
            raise InvalidArgumentError(f"a batch of {rows} is more than is taken at once, {most}: send it in parts")
        return rows
