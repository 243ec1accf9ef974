"""The controller's end of a lineage worker (worker.py): waiting for it is waiting for a pipe, which any thread can."""

import contextlib
import logging
import pickle
import subprocess
import sys
import threading
from subprocess import PIPE
from typing import IO, Any

from controlplane.registry.lineage.config import LineageConfig
from controlplane.registry.lineage.exchange import Answer, Request
from modelyard.errors import UnavailableError

log = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-P", "-m", "controlplane.registry.lineage.worker")


class WorkerProcess:
    """Starts with the first request, and anew with the next one after it ended. Thread-safe; one request at a time."""

    def __init__(self, config: LineageConfig, deadline_s: float) -> None:
        self._config = config
        self._deadline_s = deadline_s
        self._process: subprocess.Popen[bytes] | None = None
        self._log: threading.Thread | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process else None

    def ask(self, method: str, *arguments: Any) -> Any:
        """What the method of `LocalLineage` returns or raises. Blocking; UnavailableError after the deadline."""
        request = pickle.dumps(Request(method, arguments, self._deadline_s))
        if not self._lock.acquire(timeout=self._deadline_s):
            raise UnavailableError("the lineage store is busy with what was asked before; try again later")
        try:
            return self._exchange(request).open()
        finally:
            self._lock.release()

    def close(self, grace_s: float) -> None:
        """Ends it. What is under way has so long, and raises UnavailableError then, as does what is asked later."""
        self._is_closed = True
        is_idle = self._lock.acquire(timeout=grace_s)
        while not is_idle:
            if process := self._process:
                process.kill()
            is_idle = self._lock.acquire(timeout=0.1)  # one may just have been started
        try:
            self._end()
        finally:
            self._lock.release()

    def _exchange(self, request: bytes) -> Answer:
        process = self._ensure_started()
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            process.kill()  # which ends the waiting below, for writing and for reading

        timer = threading.Timer(self._deadline_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            return _send_and_receive(process, request)
        except Exception as error:  # whatever it was: what follows in the pipes is no answer to the next request
            self._end()
            raise self._failure(process, is_late.is_set()) from error
        finally:
            timer.cancel()
            timer.join()
            if is_late.is_set():  # perhaps just after the answer: the next request needs another one
                self._end()

    def _ensure_started(self) -> subprocess.Popen[bytes]:
        if self._is_closed:
            raise UnavailableError("the lineage store is closed: the controller is stopping; ask again once it is back")
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        try:
            process = subprocess.Popen(_COMMAND, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        except OSError as error:
            raise UnavailableError(f"the process of the lineage store cannot be started: {error}") from error
        self._process = process
        # A daemon: where nothing closed this, the process ends with the controller, and so after its threads.
        self._log = threading.Thread(target=_log_lines, args=(process.stderr,), daemon=True)
        self._log.start()
        _pipe(process.stdin).write(pickle.dumps(self._config))  # not an argument: one could read the password there
        return process

    def _end(self) -> None:
        """Between requests nothing is lost by SIGKILL: what was answered is committed."""
        process, thread, self._process = self._process, self._log, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what could not be written any more
                _pipe(pipe).close()
        if thread is not None:
            thread.join()

    def _failure(self, process: subprocess.Popen[bytes], is_late: bool) -> UnavailableError:
        if is_late:
            why = (
                f"gave no answer in {self._deadline_s:g} s; see whether its database can be reached, and what locks it"
            )
        else:
            why = f"ended with status {process.returncode} in the middle of a request; the next one starts it again"
        return UnavailableError(f"the lineage store {why}")


def _send_and_receive(process: subprocess.Popen[bytes], request: bytes) -> Answer:
    pipe = _pipe(process.stdin)
    pipe.write(request)
    pipe.flush()
    answer = pickle.load(_pipe(process.stdout))
    assert isinstance(answer, Answer)
    return answer


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _log_lines(pipe: IO[bytes]) -> None:
    with pipe:
        for line in pipe:
            log.warning("lineage worker: %s", line.decode(errors="replace").rstrip())
