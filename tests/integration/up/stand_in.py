"""Stands in for a program of the yard: announces itself, then runs until SIGTERM or the end of its parent.

`--data .../NAME` names it. A file NAME.fail beside that folder makes it end at once with the file's text as its last
words. Each start, stop and end of the parent is a line in events.log there. The free port that it finds is 4001.
"""

import argparse
import json
import os
import select
import signal
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--parent-fd", type=int, required=True)
    parser.add_argument("--listen", default="127.0.0.1:4000")
    options, rest = parser.parse_known_args()
    name, folder = options.data.name, options.data.parent
    fail = folder / f"{name}.fail"
    if fail.exists():
        sys.exit(fail.read_text())

    def record(event: str) -> None:
        with (folder / "events.log").open("a") as events:
            events.write(f"{name} {event}\n")

    def on_stop(number: int, frame: object) -> None:
        record("stopped")
        os._exit(0)

    signal.signal(signal.SIGTERM, on_stop)
    record(f"started {' '.join(rest)}".strip())
    address = options.listen.replace(":0", ":4001")
    with os.fdopen(options.ready_fd, "w") as pipe:
        pipe.write(json.dumps({"program": name, "pid": os.getpid(), "address": address, "node": "local"}) + "\n")
    select.select([options.parent_fd], [], [])
    record("orphaned")


if __name__ == "__main__":
    main()
