"""What is kept on disk of one running replica, so that the next agent finds its process again.

ID/state.json   the process and what it serves; written whole after each launch
ID/ready        the line that the server writes when it listens: a file, so that it outlives a dead agent
ID/log, log.1   what the server said: this run's and what came before
"""

import json
import os
import shutil
from collections import deque
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

    `canary_token`: what makes a request a probe to it.
    """

    spec: ReplicaSpec
    process: ProcessIdentity
    host: str
    port: int
    restarts: int
    canary_s: float
    canary_token: str


_RECORD = TypeAdapter(RunRecord)


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

    def read_port(self) -> int:
        """0 until the server has written its whole line."""
        try:
            line = self.ready.read_text()
            return int(json.loads(line)["port"]) if line.endswith("\n") else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def last_log_line(self) -> str:
        """What the last that is not empty says; "" where there is none."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                lines = deque((line.strip() for line in file if line.strip()), maxlen=1)
        except OSError:
            return ""
        return strip_prefix(lines[0].decode(errors="replace"))[:1000] if lines else ""

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
