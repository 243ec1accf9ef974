"""A source of model files without a controller, and a model that is a folder."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

from modelyard.errors import NotFoundError, UnavailableError
from modelyard.packing import list_files, pack

FILES = {"saved_model.pb": b"graph" * 30, "variables/variables.index": b"", "variables/data": b"w" * 700}


class Source:
    """Gives files in pieces of 10 bytes. `cut_after`: how many pieces each coming read gives before it is cut."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.reads: list[tuple[str, int]] = []
        self.cut_after: list[int] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def add(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self.files[sha256] = data
        return sha256

    async def read(self, sha256: str, offset_bytes: int) -> AsyncGenerator[bytes, None]:
        self.reads.append((sha256, offset_bytes))
        if sha256 not in self.files:
            raise NotFoundError("no such file")
        pieces = self.cut_after.pop(0) if self.cut_after else None
        data = self.files[sha256]
        for number, start in enumerate(range(offset_bytes, len(data), 10)):
            await self.may_go_on.wait()
            if number == pieces:
                raise UnavailableError("the connection was cut")
            yield data[start : start + 10]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def pack_files(folder: Path, files: dict[str, bytes] = FILES) -> bytes:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return b"".join(pack(folder, list_files(folder)))


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
