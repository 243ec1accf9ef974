"""A replica's log in pieces, for whoever asked for it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from modelyard.errors import FailedPreconditionError, NotFoundError
from modelyard.v1 import agent_pb2
from nodeagent.replica_folder import ReplicaFolder
from nodeagent.run_log import RunLog

_POLL_S = 0.2

# The folder of a replica that is here, whether it has been made or not; None where it is not here, or not any more.
FindFolder = Callable[[str], ReplicaFolder | None]


async def read_log(
    find: FindFolder, find_ended: FindFolder, request: agent_pb2.LogRequest
) -> AsyncGenerator[bytes, None]:
    """What was asked for. `find_ended`: what is kept of replicas that are gone.

    Raises NotFoundError, FailedPreconditionError, OSError.
    """
    if folder := find(request.replica_id):
        is_followed = request.follow
    elif folder := find_ended(request.replica_id):
        is_followed = False
    else:
        raise NotFoundError(f"{request.replica_id} is not on this node any more, and it left no log of a failure")
    pieces = _follow(find, request.replica_id, request.tail_lines) if is_followed else _read_kept(folder, request)
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece


async def _read_kept(folder: ReplicaFolder, request: agent_pb2.LogRequest) -> AsyncGenerator[bytes, None]:
    try:
        run = RunLog(folder, previous=request.previous)
    except FileNotFoundError:
        raise FailedPreconditionError(_explain_absence(request)) from None
    with run:
        # A server that says more than can be sent must not keep this going for ever.
        left_bytes = run.go_to_last(max(0, request.tail_lines))
        while left_bytes > 0 and (piece := run.read()):
            yield piece[:left_bytes]
            left_bytes -= len(piece)


def _explain_absence(request: agent_pb2.LogRequest) -> str:
    if request.previous:
        return f"{request.replica_id} was started once at most, so that there is no run before"
    return f"{request.replica_id} has said nothing yet: its server was not started; follow the log to wait for it (-f)"


async def _follow(find: FindFolder, replica_id: str, tail_lines: int) -> AsyncGenerator[bytes, None]:
    """Until the replica has stopped and all that it said was read."""
    run = await _wait_for_run(find, replica_id)
    if run is None:
        raise NotFoundError(f"{replica_id} left this node before its server was started")
    run.go_to_last(max(0, tail_lines))
    while run is not None:
        with run:
            async for piece in _read_to_end_of_run(run, find, replica_id):
                yield piece
            run_after = await _wait_for_run(find, replica_id)
            yield run.make_notice("the server was started anew" if run_after else "the replica has stopped")
        run = run_after


async def _read_to_end_of_run(run: RunLog, find: FindFolder, replica_id: str) -> AsyncIterator[bytes]:
    while True:
        if piece := run.read():
            yield piece
        # Nothing happens between these two looks: what has ended by now had said all that was read above.
        elif find(replica_id) is None or not run.is_of_newest_run():
            return
        else:
            await asyncio.sleep(_POLL_S)


async def _wait_for_run(find: FindFolder, replica_id: str) -> RunLog | None:
    """Of the newest run, once there is one; None where the replica leaves before."""
    while folder := find(replica_id):
        try:
            return RunLog(folder)
        except FileNotFoundError:
            await asyncio.sleep(_POLL_S)
    return None
