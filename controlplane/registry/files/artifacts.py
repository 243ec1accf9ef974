"""Model files, kept by their content: `sha256/ab/abcdef...` under any folder or URL that fsspec can reach.

An upload waits in `incoming/` on a local disk, so that it can be looked at before it is kept, and so that what is cut
off never reaches the store. A file that is kept and has no version yet (the controller died in between) does no harm:
the same bytes find it there the next time, and a purge removes it.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controlplane.registry.files.artifact_backends import LocalBackend, open_backend
from controlplane.registry.files.blocking_calls import BlockingCalls, Ticks
from controlplane.registry.files.incoming import Incoming
from controlplane.registry.files.readers import Reader
from controlplane.registry.files.upload import Upload
from controlplane.registry.files.verified_reading import read_blocks, read_verified
from modelyard.errors import DataLossError, InvalidArgumentError, NotFoundError, UnavailableError, YardError

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 90.0
# So long a start waits for a remote store, which may say that it cannot be used at all. `modelyard up` gives 60 s.
START_WAIT_S = 10.0
# The keepalive notices a cut after 15 seconds. What has arrived whole is being looked at or stored.
_UNTIL_CUT_S, _UNTIL_STORED_S = 20.0, 300.0
# A write in the store itself may be under way for so long; what is older was left behind by a killed controller.
_LEFTOVER_AGE = timedelta(days=1)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse_sha256(text: str) -> str:
    """In lower case. InvalidArgumentError for anything but 64 hexadecimal digits."""
    if not _SHA256.fullmatch(text.lower()):
        raise InvalidArgumentError(
            f"{text[:80]!r} is not a sha256: wanted 64 hexadecimal digits, as sha256sum prints them"
        )
    return text.lower()


@dataclass(frozen=True)
class StoredFile:
    sha256: str
    size_bytes: int
    stored_at: datetime


class ArtifactStore:
    """Content-addressed files under `url`, a folder or an fsspec URL such as hdfs://namenode/yard.

    `spool`: a local folder where uploads wait if `url` is not local; a local store keeps them beside its files.
    `timeout_s`: a call into the store that takes longer ends in UnavailableError.
    """

    def __init__(self, url: str, spool: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._backend = open_backend(url)
        is_local = isinstance(self._backend, LocalBackend)
        self._incoming = Incoming((Path(self._backend.root) if is_local else spool) / "incoming")
        self._what = f"the artifact store {url}"
        self._calls = BlockingCalls(self._what, timeout_s)
        self._preparing: asyncio.Task[None] | None = None

    async def prepare(self, wait_s: float = START_WAIT_S) -> None:
        """Makes the folders and removes what nobody needs of earlier work; once, before anything else.

        A remote store that does not answer is told to the log only: what needs no file goes on without it. It is waited
        for `wait_s` seconds, and gets ready beside everything else from then on, until `close`.
        """
        await asyncio.to_thread(self._incoming.prepare)
        if isinstance(self._backend, LocalBackend):
            await self._prepare_backend()
            return
        self._preparing = asyncio.create_task(self._prepare_backend(), name="artifact store")
        if (await asyncio.wait({self._preparing}, timeout=wait_s))[0]:
            await self._preparing
            return
        log.warning("%s did not answer within %g s; the controller starts without it", self._what, wait_s)
        self._preparing.add_done_callback(_tell_failure)

    async def close(self) -> None:
        """Ends what `prepare` left under way."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait({self._preparing})

    async def _prepare_backend(self) -> None:
        try:
            await self._calls.run(self._backend.prepare)
        except UnavailableError as error:
            if isinstance(self._backend, LocalBackend):
                raise
            log.warning("model files can be neither kept nor read for now: %s", error.message)
        else:
            await self.sweep()

    async def sweep(self) -> None:
        """Removes what was cut off too long ago, here and in the store as far as that lets the controller do so."""
        await asyncio.to_thread(self._incoming.sweep)
        try:
            await self._calls.run(self._backend.remove_leftovers, datetime.now(UTC) - _LEFTOVER_AGE)
        except YardError as error:
            log.warning("what killed controllers left in the store stays there: %s", error.message)

    async def find_upload(self, size_bytes: int, sha256: str) -> int:
        """How many bytes are kept of an upload of this file that was cut off.

        One that is under way is waited for, so long as it may turn out to be cut off, or to have been the whole.
        """
        # Here and not in a thread: of those there are few, and this may take long.
        if under_way := await asyncio.to_thread(self._incoming.list_under_way, sha256, size_bytes):
            patience_s = _UNTIL_STORED_S if any(upload.is_whole for upload in under_way) else _UNTIL_CUT_S
            ends = {asyncio.wrap_future(upload.end) for upload in under_way}
            await asyncio.wait(ends, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        return await asyncio.to_thread(self._incoming.find, sha256, size_bytes)

    def begin_upload(self, size_bytes: int, sha256: str = "", offset_bytes: int = 0) -> Upload:
        """Use it in `async with`. `size_bytes`: 0 where it is not known."""
        return Upload(self._incoming, size_bytes, sha256, offset_bytes)

    @asynccontextmanager
    async def workspace(self) -> AsyncIterator[Path]:
        """A new folder on the disk of the uploads, gone after the block."""
        workspace = self._incoming.workspace()
        folder = await asyncio.to_thread(workspace.__enter__)
        try:
            yield folder
        finally:
            await asyncio.shield(asyncio.to_thread(workspace.__exit__, None, None, None))

    async def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether such a file is kept, as far as its size tells."""
        try:
            return await self._calls.run(self._backend.size, self._path(sha256)) == size_bytes
        except FileNotFoundError:
            return False

    async def verify(self, sha256: str, size_bytes: int) -> bool:
        """Whether such a file is kept, with exactly these bytes: reads all of them."""
        if not await self.has(sha256, size_bytes):
            return False
        try:
            async with aclosing(self.read(sha256)) as chunks:
                async for _ in chunks:
                    pass
        except (DataLossError, NotFoundError) as error:
            log.warning("a stored file has to be stored again: %s", error.message)
            return False
        return True

    async def keep(self, file: Path, sha256: str, size_bytes: int) -> str:
        """Puts a file, which may be moved, into the store, at once or not at all, and returns its URI.

        The sha256 is the caller's word. What is there already is read, and replaced where it is damaged.
        """
        path = self._path(sha256)
        # A local file is put in the place of one that is there: these bytes were verified just now, those long ago.
        if isinstance(self._backend, LocalBackend) or not await self.verify(sha256, size_bytes):
            ticks = Ticks()
            await self._calls.run(self._backend.put, file, path, ticks.tick, ticks=ticks)
        return self._backend.uri(path)

    async def read(self, sha256: str, offset_bytes: int = 0) -> AsyncGenerator[bytes, None]:
        """The file from `offset_bytes` on, in chunks of at most CHUNK_BYTES. NotFoundError, InvalidArgumentError.

        DataLossError behind the last chunk of a whole file whose bytes are not what they were.
        """
        reader = await self._open(parse_sha256(sha256))
        if not 0 <= offset_bytes <= reader.size_bytes:
            reader.close()
            raise InvalidArgumentError(f"offset {offset_bytes} is outside the file: it has {reader.size_bytes} bytes")
        whole = offset_bytes == 0
        blocks = (
            read_verified(self._calls, reader, sha256.lower())
            if whole
            else read_blocks(self._calls, reader, offset_bytes)
        )
        async with aclosing(blocks):
            async for block in blocks:
                for start in range(0, len(block), CHUNK_BYTES):
                    yield block[start : start + CHUNK_BYTES]

    @asynccontextmanager
    async def local_copy(self, sha256: str) -> AsyncIterator[Path]:
        """A file of this machine with the content, never to be written to. It raises what `read` raises."""
        if isinstance(self._backend, LocalBackend):
            async with self.workspace() as folder:
                # A second name: a purge that takes the first one away meanwhile disturbs nobody.
                yield await asyncio.to_thread(_link, Path(self._path(sha256)), folder / sha256)
            return
        reader = await self._open(sha256)
        async with self.begin_upload(reader.size_bytes) as copy:
            async with aclosing(read_verified(self._calls, reader, sha256)) as blocks:
                async for block in blocks:
                    await copy.write(block)
            await copy.finish(reader.size_bytes, sha256)
            yield copy.path

    async def remove(self, sha256: str) -> bool:
        """False where it was not there. It may take as long as the store likes.

        For one that is given up may happen later, when somebody has found the file there and relies on it.
        """
        try:
            await self._calls.run_to_end(self._backend.remove, self._path(sha256))
        except FileNotFoundError:
            return False
        return True

    async def list_files(self) -> AsyncIterator[list[StoredFile]]:
        """All that is kept, some at a time, in no order."""
        for folder in await self._calls.run(self._backend.list_folders, f"{self._backend.root}/sha256"):
            files = await self._calls.run(self._backend.list_files, folder)
            named = [(file.path.rpartition("/")[2], file) for file in files]
            yield [
                StoredFile(name, file.size_bytes, file.modified_at) for name, file in named if _SHA256.fullmatch(name)
            ]

    def _path(self, sha256: str) -> str:
        return f"{self._backend.root}/sha256/{sha256[:2]}/{sha256}"

    async def _open(self, sha256: str) -> Reader:
        try:
            return await self._calls.run(self._backend.open, self._path(sha256))
        except FileNotFoundError as error:
            raise NotFoundError(f"no file with sha256 {sha256} is stored here") from error


def _tell_failure(preparing: asyncio.Task[None]) -> None:
    if not preparing.cancelled() and (error := preparing.exception()):
        log.error("model files can be neither kept nor read: %s", error)


def _link(source: Path, target: Path) -> Path:
    try:
        target.hardlink_to(source)
    except FileNotFoundError as error:
        raise NotFoundError(f"no file with sha256 {source.name} is stored here") from error
    return target


def file_sha256(path: Path) -> str:
    """Blocking."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
