"""The process that has the lineage store open: `python -P -m controlplane.registry.lineage.worker`.

ML Metadata keeps the interpreter's lock while it waits for its database, so whichever process calls it stands still
for as long; this one has nothing else to do. Standard input brings a LineageConfig, then requests, and ends when the
controller does, however that came about; each request has its answer on standard output.
"""

import contextlib
import os
import pickle
import signal
import sys
import traceback
from typing import BinaryIO

from controlplane.registry.lineage.exchange import Answer, Request
from controlplane.registry.lineage.local import LocalLineage
from modelyard.errors import YardError


def main() -> None:
    # Ctrl-C reaches the whole group; what is under way is for the controller to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        # What a library prints must not be taken for an answer.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        with contextlib.suppress(EOFError, BrokenPipeError):
            serve(sys.stdin.buffer, answers)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Until EOFError at the end of the requests."""
    lineage = LocalLineage(pickle.load(requests))
    while True:
        request = pickle.load(requests)
        # The controller ends what takes too long; the alarm is for one that cannot any more. Its signal needs nothing
        # of the interpreter, whose lock is held then.
        signal.setitimer(signal.ITIMER_REAL, 2 * request.deadline_s)
        answer = _answer(lineage, request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(pickle.dumps(answer))
        answers.flush()


def _answer(lineage: LocalLineage, request: Request) -> Answer:
    try:
        return Answer(getattr(lineage, request.method)(*request.arguments))
    except YardError as error:
        return Answer(error=error)
    except Exception:
        return Answer(traceback=traceback.format_exc())


if __name__ == "__main__":
    main()
