"""The places where model files can be kept: real ones, each with a way to look at and to damage what is in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pytest

from controlplane.registry.files.artifacts import ArtifactStore
from tests.harness.hdfs import Hdfs, running_hdfs, why_not
from tests.harness.s3 import S3, running_s3

REMOTE = ["s3", pytest.param("hdfs", marks=pytest.mark.slow)]
ALL = ["local", "memory", *REMOTE]


@dataclass(frozen=True)
class Place:
    """`url`: of a store of the test's own. `list_files`: sizes by path, `overwrite(path, content)` damages one."""

    url: str
    list_files: Callable[[], dict[str, int]]
    overwrite: Callable[[str, bytes], None]

    def path_of(self, sha256: str) -> str:
        """As `list_files` names it."""
        return next(path for path in self.list_files() if path.endswith(f"/sha256/{sha256[:2]}/{sha256}"))


@pytest.fixture(scope="session")
def shared_s3() -> Iterator[S3]:
    with running_s3() as running:
        yield running


@pytest.fixture(scope="session")
def shared_hdfs() -> Iterator[Hdfs]:
    if reason := why_not():
        pytest.skip(reason)
    with running_hdfs() as running:
        yield running


@pytest.fixture
def s3(shared_s3: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    for name, value in shared_s3.environment.items():
        monkeypatch.setenv(name, value)
    return shared_s3


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Of the kind that the test is parametrized with."""
    name = tmp_path.name
    if request.param == "local":
        yield _local(tmp_path / "artifacts")
    elif request.param == "memory":
        yield _memory(name)
        fsspec.filesystem("memory").store.clear()
    elif request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        yield Place(f"{s3.url}/{name}", lambda: _below(s3.list_files(), f"{name}/"), s3.overwrite)
    else:
        hdfs: Hdfs = request.getfixturevalue("shared_hdfs")
        yield Place(f"{hdfs.url}/{name}", lambda: _below(hdfs.list_files(), f"/{name}/"), hdfs.overwrite)


@pytest.fixture
async def store(place: Place, tmp_path: Path) -> ArtifactStore:
    opened = ArtifactStore(place.url, spool=tmp_path / "spool")
    await opened.prepare()
    return opened


def _below(files: dict[str, int], folder: str) -> dict[str, int]:
    return {path: size for path, size in files.items() if path.startswith(folder)}


def _local(folder: Path) -> Place:
    def list_files() -> dict[str, int]:
        return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}

    def overwrite(path: str, content: bytes) -> None:
        Path(path).chmod(0o600)
        Path(path).write_bytes(content)

    return Place(str(folder), list_files, overwrite)


def _memory(name: str) -> Place:
    fs = fsspec.filesystem("memory")

    def list_files() -> dict[str, int]:
        return {path: fs.size(path) for path in fs.find(f"/{name}")}

    return Place(f"memory://{name}", list_files, fs.pipe_file)
