"""Archives made in memory, entry by entry: also such as no honest program makes."""

import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

Files = Mapping[str, bytes] | Sequence[tuple[str, bytes]]


def _pairs(files: Files) -> list[tuple[str, bytes]]:
    return list(files.items() if isinstance(files, Mapping) else files)


def zipped(files: Files, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in _pairs(files):
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return target.getvalue()


def tarred(files: Files, compression: str = "", odd: Sequence[tarfile.TarInfo] = ()) -> bytes:
    """`compression`: "gz", "bz2" or "xz"; `odd`: headers without content, put last."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, content in _pairs(files):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in odd:
            archive.addfile(info)
    return target.getvalue()


def odd_entry(name: str, kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
