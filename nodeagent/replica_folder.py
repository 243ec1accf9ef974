"""What is kept on disk of one running replica, so that the next agent finds its process again.

ID/state.json   the process and what it serves; written whole after each launch
ID/ready        the line that the server writes when it listens: a file, so that it outlives a dead agent
ID/log, log.1   what the server said: this run's and what came before
"""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from modelyard.files import write_whole
from modelyard.logs import strip_prefix
from modelyard.processes import ProcessIdentity
from nodeagent.replica_spec import ReplicaSpec

# Every process of a replica has it in its environment: the path of its folder.
MARKER = "MODELYARD_REPLICA_FOLDER"
_TAIL_BYTES = 16 << 10


@dataclass(frozen=True)
class RunRecord:
    """A process that was launched. `port` is 0 until it was ready once; `host` is where it listens.

    `canary_token`: what makes a request a probe to it. `planned_port`: where it will listen; 0: it says so itself.
    """

    spec: ReplicaSpec
    process: ProcessIdentity
    host: str
    port: int
    restarts: int
    canary_s: float
    canary_token: str
    runtime: str = ""  # which launched it; "": an earlier release's, of which there was one
    planned_port: int = 0
    metrics_port: int = 0


@dataclass(frozen=True)
class ReadyLine:
    """What a server says when it is ready. Times are in seconds of the monotonic clock; 0: it does not tell."""

    port: int
    metrics_port: int = 0
    began: float = 0.0
    loaded: float = 0.0
    warm: float = 0.0


_RECORD = TypeAdapter(RunRecord)
_READY = TypeAdapter(ReadyLine)


class ReplicaFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        self.ready = path / "ready"
        self._state = path / "state.json"

    def prepare(self) -> None:
        """Makes it ready for a launch; the log of the run before becomes `log.1`."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # the record has a secret
        self.forget()
        self.ready.unlink(missing_ok=True)
        if self.log.exists():
            self.log.replace(self._old_log())

    def store(self, record: RunRecord) -> None:
        write_whole(self._state, _RECORD.dump_json(record, indent=1))

    def load(self) -> RunRecord | None:
        """None where there is no record of this replica that can be read."""
        try:
            record = _RECORD.validate_json(self._state.read_bytes())
        except (OSError, ValidationError):
            return None
        return record if record.spec.replica_id == self.path.name else None

    def forget(self) -> None:
        """There is no process any more."""
        with suppress(OSError):  # a record that stays does no harm: nobody adopts a process that has ended
            self._state.unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def read_ready(self) -> ReadyLine | None:
        """None until the server has written its whole line."""
        try:
            line = self.ready.read_bytes()
            return _READY.validate_json(line) if line.endswith(b"\n") else None
        except (OSError, ValidationError):
            return None

    def write_ready(self, port: int) -> None:
        """For a server that writes no such line itself."""
        write_whole(self.ready, json.dumps({"port": port}).encode() + b"\n")

    def last_log_line(self) -> str:
        """What the last that is not empty says; "" where there is none."""
        lines = [line for line in self.log_tail().splitlines() if line.strip()]
        return strip_prefix(lines[-1].strip())[:1000] if lines else ""

    def log_tail(self) -> str:
        """The end of what this run said, some kilobytes of it; "" where there is none."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                return file.read(_TAIL_BYTES).decode(errors="replace")
        except OSError:
            return ""

    def trim_log(self, limit_bytes: int) -> None:
        """Moves what is in the log aside once it is longer than that.

        The server holds the file open for appending, so it is emptied in place: a renamed one would go on growing.
        Raises OSError where a full disk has no room for what is moved; the log is emptied all the same.
        """
        if self.log.exists() and self.log.stat().st_size > limit_bytes:
            try:
                self._copy_end(limit_bytes)
            finally:
                os.truncate(self.log, 0)

    def _copy_end(self, size_bytes: int) -> None:
        with self.log.open("rb") as file, self._old_log().open("wb") as old:
            file.seek(-size_bytes, os.SEEK_END)
            shutil.copyfileobj(file, old)

    def _old_log(self) -> Path:
        return self.log.with_name("log.1")
