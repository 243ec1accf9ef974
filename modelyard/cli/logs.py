"""`modelyard logs`: what a replica's server said, and says."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from modelyard.cli import options
from modelyard.cli.controller import Controller
from modelyard.errors import InvalidArgumentError, NotFoundError, UnavailableError

_FOLLOWED_LINES = 10
_NAMED = 5


def logs(
    replica: Annotated[str, typer.Argument(metavar="REPLICA", help="Its id, or a beginning that is no other's.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the replica stops.")] = False,
    tail: Annotated[
        int | None,
        typer.Option(
            metavar="LINES",
            min=0,
            help=f"So many of the last lines; 0: all that is kept.  [default: {_FOLLOWED_LINES} with --follow, else 0]",
        ),
    ] = None,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the run before the last start, to its last words.")
    ] = False,
    controller: options.Controller = options.CONTROLLER,
) -> None:
    """Print what a replica's server says, straight from its node.

    A file or a program gets it byte by byte as it was written, so that there is no --json; on a terminal control
    characters are shown as \\x1b and the like.
    """
    if follow and previous:
        raise typer.BadParameter("the run before has ended: there is nothing to follow", param_hint="--previous")
    lines = tail if tail is not None else _FOLLOWED_LINES if follow else 0
    write = _make_writer()
    with Controller(controller) as yard:
        for chunk in _read(yard, replica, tail_lines=lines, follow=follow, previous=previous):
            write(chunk)


def _read(yard: Controller, replica: str, **options: Any) -> Iterator[bytes]:
    try:
        yield from _read_exactly(yard, replica, **options)
    except NotFoundError:
        whole = _complete(yard, replica)
        if whole is None:
            raise
        yield from _read_exactly(yard, whole, **options)


def _read_exactly(yard: Controller, replica_id: str, **options: Any) -> Iterator[bytes]:
    from modelyard.v1 import deployments_pb2

    begun = False
    request = deployments_pb2.ReadReplicaLogRequest(name=f"replicas/{replica_id}", **options)
    try:
        for response in yard.cluster.ReadReplicaLog(request, timeout_s=None):
            begun = True
            yield response.chunk
    except UnavailableError as error:
        if not begun:
            raise
        # What was printed already would be printed again, or something be left out: a person can tell, this cannot.
        raise UnavailableError(f"the log was cut off here ({error.message}): give the command again") from error


def _complete(yard: Controller, beginning: str) -> str | None:
    """The one replica that begins like this; None where there is none. InvalidArgumentError where there are several."""
    from modelyard.v1 import deployments_pb2

    replicas = yard.cluster.ListReplicas(deployments_pb2.ListReplicasRequest()).replicas
    found = sorted(replica.replica_id for replica in replicas if replica.replica_id.startswith(beginning))
    if len(found) > 1:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise InvalidArgumentError(
            f"{beginning} is the beginning of {', '.join(found[:_NAMED])}{more}: give more of the one that is meant"
        )
    return found[0] if found else None


def _make_writer() -> Callable[[bytes], None]:
    """For a terminal what a log says is made harmless; a file or a program gets it byte by byte."""
    if not sys.stdout.isatty():
        return _write_bytes
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return lambda chunk: _write_text(decoder.decode(chunk))


def _write_bytes(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _write_text(text: str) -> None:
    sys.stdout.write("".join(_escape(character) for character in text))
    sys.stdout.flush()


def _escape(character: str) -> str:
    """Control characters as in \\x1b: a model's message must not be able to steer a terminal."""
    return character if character.isprintable() or character in "\n\t" else ascii(character)[1:-1]
