"""What is kept on disk of one running replica, so that the next agent finds its process again.

ID/state.json   the process and what it serves; written whole after each launch
ID/ready        the line that the server writes when it listens: a file, so that it outlives a dead agent
ID/log, log.1   what the server said, and what it said before that and had no room in the log
ID/log.before   the log of the run before
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
from nodeagent.shared_memory import remove_segments
from nodeagent.start_times import StartTimes

# Every process of a replica has it in its environment: the path of its folder.
MARKER = "MODELYARD_REPLICA_FOLDER"
_TAIL_BYTES = 16 << 10
# Of more runs nobody reads the log any more.
_RUNS_REMEMBERED = 8


def spares_beside(replicas: Path) -> Path:
    """Where servers wait that are no replica's yet: not among those of replicas, which may be called anything."""
    return replicas.with_name("spares")


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
    marker: str = ""  # what its process has as its folder; "": the replica's own
    start_times: StartTimes | None = None


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
        self.trimmed_log = path / "log.1"
        self.log_before = path / "log.before"
        # How much was moved out of the log of each of the last runs, by its inode.
        self._trimmed_bytes: dict[int, int] = {}
        self.ready = path / "ready"
        self._state = path / "state.json"

    def prepare(self) -> None:
        """Makes it ready for a launch; the log of the run before becomes `log.before`."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # the record has a secret
        self.forget()
        self.ready.unlink(missing_ok=True)
        if self.log.exists():
            self.log.replace(self.log_before)
        self.trimmed_log.unlink(missing_ok=True)

    def take_over(self, spare: "ReplicaFolder") -> None:
        """What a spare says goes on here, in the files that it has open. To be called after `prepare`."""
        spare.log.replace(self.log)
        spare.ready.replace(self.ready)
        spare.remove()

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
        remove_segments(self.path)
        with suppress(OSError):  # a record that stays does no harm: nobody adopts a process that has ended
            self._state.unlink(missing_ok=True)

    def remove(self) -> None:
        remove_segments(self.path)
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
        To be called in the thread in which logs are read (nodeagent.run_log): neither may see the other half done.
        """
        if not self.log.exists() or (before := self.log.stat()).st_size <= limit_bytes:
            return
        end = before.st_size
        try:
            end = self._copy_end(limit_bytes)
        finally:
            os.truncate(self.log, 0)
            self._note_trimmed(before.st_ino, end)

    def trimmed_bytes(self, inode: int) -> int:
        """How much was moved out of that log in this object's life: who reads it knows by it where it has got to."""
        return self._trimmed_bytes.get(inode, 0)

    def _note_trimmed(self, inode: int, size_bytes: int) -> None:
        total = self._trimmed_bytes.pop(inode, 0) + size_bytes
        self._trimmed_bytes = dict([*self._trimmed_bytes.items(), (inode, total)][-_RUNS_REMEMBERED:])

    def _copy_end(self, size_bytes: int) -> int:
        """Where what was copied ends: the server may have written more meanwhile."""
        with self.log.open("rb") as file, self.trimmed_log.open("wb") as old:
            file.seek(-size_bytes, os.SEEK_END)
            shutil.copyfileobj(file, old)
            return file.tell()
