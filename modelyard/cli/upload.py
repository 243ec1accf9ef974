"""The hand-over of a model: sent whole, on from where a cut connection left it, under the record that goes with it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from modelyard.cli.byte_progress import ByteProgress, show_bytes
from modelyard.cli.controller import Controller, get_version
from modelyard.cli.local_model import LocalModel
from modelyard.cli.reconnecting import Reconnecting
from modelyard.errors import AbortedError, AlreadyExistsError, InvalidArgumentError, UnavailableError, YardError

# What a Header and a Version both have: a version of our content that has them all as we sent them is ours.
_OWN_FIELDS = ("description", "user", "metrics", "parameters", "tags", "source")


def compute_sha256(model: LocalModel) -> str:
    """Of what is to be sent. InvalidArgumentError where it cannot be read."""
    with show_bytes(f"reading {model.path.name}", model.size_bytes) as progress:
        try:
            return model.compute_sha256(progress.set)
        except OSError as error:
            raise _unreadable(model, error) from error


def create_version(yard: Controller, header: Any, model: LocalModel, exist_ok: bool = False) -> Any:
    """The new version. `header` has size and sha256 of `model`. With `exist_ok` the one that has this content already.

    A connection that is cut is tried again, each time from the byte that the controller has reached.
    """
    with show_bytes(f"sending {model.path.name}", header.size_bytes) as progress:
        try:
            return _Sending(yard, header, model, progress).run()
        except AlreadyExistsError as error:
            if not exist_ok:
                raise
            return find_existing(yard, header.parent, error)
        except KeyboardInterrupt:
            sys.stderr.write("what has arrived is kept for a day: the same command again sends the rest\n")
            raise


def find_existing(yard: Controller, parent: str, error: AlreadyExistsError) -> Any:
    """The version that an AlreadyExistsError names. Raises that error where it is deleted: it says what to do."""
    model = parent.removeprefix("models/")
    named = re.search(rf"(?<![\w.-]){re.escape(model)}@(\d+)", error.message)
    if named is None:
        raise error
    version = get_version(yard, model, int(named[1]))
    if version.HasField("delete_time"):
        raise error
    return version


class _Sending:
    def __init__(self, yard: Controller, header: Any, model: LocalModel, progress: ByteProgress) -> None:
        self._yard, self._header, self._model, self._progress = yard, header, model, progress
        self._has_answered = False
        self._reached_bytes = 0
        self._reconnecting = Reconnecting(progress)
        self._is_again = False
        self._had_all = False  # the controller, before this try sent a byte

    def run(self) -> Any:
        while True:
            try:
                return self._try()
            except UnavailableError as error:
                if not self._has_answered or self._is_in_vain(error):
                    raise
                self._reconnecting.wait(error)
                self._is_again = True
            except AbortedError as error:
                # Less is there than it said: somebody else took up what was kept, or what is stored is damaged.
                self._reconnecting.wait(error)
            except AlreadyExistsError as error:
                # Of the try before, all may have arrived and its answer been lost.
                version = find_existing(self._yard, self._header.parent, error) if self._is_again else None
                if version is None or not self._is_ours(version):
                    raise
                return version

    def _is_in_vain(self, error: UnavailableError) -> bool:
        """Whether the controller has failed twice with a file of which it had all."""
        # A cut connection looks just like a controller that cannot do it now, and that looks at the model each time.
        from modelyard._calls import UnreachableError

        return self._had_all and self._is_again and not isinstance(error, UnreachableError)

    def _try(self) -> Any:
        from modelyard.v1 import registry_pb2

        self._had_all = False
        request = registry_pb2.FindUploadRequest(size_bytes=self._header.size_bytes, sha256=self._header.sha256)
        found = self._yard.registry.FindUpload(request, timeout_s=None)  # it may wait for what is under way
        self._has_answered = True
        offset_bytes = self._header.size_bytes if found.is_stored else found.offset_bytes
        # It goes on, however often it is cut. What is stored may yet turn out damaged, and have to be sent.
        if not found.is_stored and offset_bytes > self._reached_bytes:
            self._reached_bytes = offset_bytes
            self._reconnecting.reset()
        if offset_bytes:
            self._progress.tell(_describe_start(found, self._header.size_bytes))
        self._progress.set(offset_bytes)
        self._header.offset_bytes = offset_bytes
        self._had_all = offset_bytes == self._header.size_bytes
        return self._send(offset_bytes)

    def _send(self, offset_bytes: int) -> Any:
        broken: list[Exception] = []
        requests = make_requests(self._header, self._model, offset_bytes, self._progress.set, broken)
        try:
            return self._yard.registry.CreateVersion(requests, timeout_s=None).version
        except YardError:
            if broken:
                raise _unreadable(self._model, broken[0]) from broken[0]
            raise

    def _is_ours(self, version: Any) -> bool:
        return all(getattr(version, name) == getattr(self._header, name) for name in _OWN_FIELDS)


def make_requests(
    header: Any, model: LocalModel, offset_bytes: int, tell: Callable[[int], None], broken: list[Exception]
) -> Iterator[Any]:
    """The stream of a registration. What goes wrong with the file is put into `broken`, and ends the stream."""
    # gRPC reads it in a thread of its own, also for a moment after a refusal: nothing that it uses is closed behind its
    # back, and nothing is raised here, for gRPC would print it.
    from modelyard.v1 import registry_pb2

    yield registry_pb2.CreateVersionRequest(header=header)
    if offset_bytes == header.size_bytes:
        return
    try:
        for chunk in model.read(offset_bytes):
            yield registry_pb2.CreateVersionRequest(chunk=chunk)
            offset_bytes += len(chunk)
            tell(offset_bytes)
    except (OSError, InvalidArgumentError) as error:
        broken.append(error)


def _describe_start(found: Any, size_bytes: int) -> str:
    if found.is_stored:
        return "the yard has these bytes already: nothing is sent"
    return f"{100 * found.offset_bytes // size_bytes} % has arrived before: the rest is sent"


def _unreadable(model: LocalModel, error: Exception) -> InvalidArgumentError:
    if isinstance(error, InvalidArgumentError):
        return error
    return InvalidArgumentError(f"{model.path} cannot be read to its end: {getattr(error, 'strerror', None) or error}")
