"""The kinds of places where artifacts can be kept, each with its own way to show a file only once it is whole."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from controlplane.registry.files.artifact_backend import Backend, Tick
from controlplane.registry.files.file_systems import is_local, open_file_system, scheme_of
from controlplane.registry.files.readers import HdfsReader, LocalReader, Reader, S3Reader
from controlplane.registry.files.storage_errors import storage_errors_explained
from modelyard.errors import FailedPreconditionError

# Of an S3 upload that has several parts, this many at once: 10 MiB of memory, and as much for what is on its way out.
_PART_BYTES = 5 << 20  # S3 takes no smaller ones
_PARTS_AT_ONCE = 2
_MOST_PARTS = 9_000  # S3 takes 10,000


class HdfsBackend(Backend):
    def open(self, path: str) -> Reader:
        with storage_errors_explained(self.uri(path), passing=(FileNotFoundError,)):
            return HdfsReader(self._fs.client.read(path))

    def _move(self, path: str, target: str) -> None:
        self._fs.mv(path, target, overwrite=True)  # in one step


class S3Backend(Backend):
    """An object is there once it is whole, so that nothing needs to be moved: S3 could only copy it."""

    def prepare(self) -> None:
        bucket = self.root.partition("/")[0]
        with storage_errors_explained(f"s3://{bucket}"):
            try:
                self._fs.call_s3("head_bucket", Bucket=bucket)
            except FileNotFoundError:
                raise FailedPreconditionError(
                    f"there is no bucket {bucket!r}; make it, or name another one in --artifacts-url"
                ) from None

    def open(self, path: str) -> Reader:
        return S3Reader(self._fs, path, self.size(path))

    def put(self, source: Path, path: str, tick: Tick) -> None:
        from fsspec.callbacks import Callback

        class Ticking(Callback):  # type: ignore[misc]
            def relative_update(self, inc: int = 1) -> None:
                tick()

        size_bytes = source.stat().st_size
        part = max(_PART_BYTES, size_bytes // _MOST_PARTS + 1)
        with storage_errors_explained(self.uri(path)):
            was_there = self._fs.exists(path)
            try:
                self._fs.put_file(str(source), path, callback=Ticking(), chunksize=part, max_concurrency=_PARTS_AT_ONCE)
            except FileNotFoundError:
                # Where the answer to the last step got lost, its repetition finds no upload any more, but the object.
                if was_there:
                    raise
            self._check_size(path, size_bytes)

    def walk(self, path: str) -> Iterator[tuple[str, int]]:
        """Page by page: s3fs would have the whole of a folder in memory, of which one may have millions of files."""
        bucket, folder, _ = self._fs.split_path(path)
        more: dict[str, str] = {}
        while True:
            page = self._fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{folder}/".lstrip("/"), **more)
            for entry in page.get("Contents", []):
                yield f"{bucket}/{entry['Key']}", int(entry["Size"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def remove_leftovers(self, before: datetime) -> None:
        bucket, _, folder = self.root.partition("/")
        with storage_errors_explained(self.uri(self.root)):
            answer = self._fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{folder}/sha256/".lstrip("/"))
            for upload in answer.get("Uploads", []):
                if upload["Initiated"] < before:
                    self._fs.call_s3(
                        "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )


class LocalBackend(Backend):
    def open(self, path: str) -> Reader:
        with storage_errors_explained(path, passing=(FileNotFoundError,)):
            return LocalReader(Path(path))

    def put(self, source: Path, path: str, tick: Tick) -> None:
        target = Path(path)
        with storage_errors_explained(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.chmod(0o400)
            _sync(source)
            source.replace(target)
            # The new names are on the disk only once their folders are.
            for folder in (target.parent, target.parent.parent):
                _sync(folder)

    def remove_leftovers(self, before: datetime) -> None:
        """Nothing: what is on its way in is looked after by controlplane.registry.files.incoming."""


def open_backend(url: str) -> Backend:
    """InvalidArgumentError, FailedPreconditionError for a URL that leads nowhere."""
    fs, root = open_file_system(url)
    return backend_of(scheme_of(url), fs, root)


def backend_of(scheme: str, fs: Any, root: str) -> Backend:
    if is_local(fs):
        return LocalBackend(fs, root)
    kinds: dict[str, type[Backend]] = {"hdfs": HdfsBackend, "viewfs": HdfsBackend, "s3": S3Backend, "s3a": S3Backend}
    return kinds.get(scheme, Backend)(fs, root)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
