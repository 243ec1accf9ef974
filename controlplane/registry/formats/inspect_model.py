"""Looks at one model file, in a process of its own: a hostile file costs this process, never the controller.

`python -m controlplane.registry.formats.inspect_model REQUEST`, a JSON object with the fields of `Request`, and a
sample on standard input. It prints one JSON object: what was found, {"refused": "a sentence"}, or
{"no_room": "a sentence"}; a sample is left in the workspace.
"""

import errno
import json
import os
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from controlplane.registry.formats.file_kinds import HEAD_BYTES, is_archive

SAMPLE_FILE = "sample.npz"
# Of which a tar may be larger than what was unpacked: its headers.
_TAR_EXTRA_BYTES = 64 << 20


@dataclass(frozen=True)
class Request:
    """`memory_bytes` is address space beside the file itself, `cpu_s` seconds of processor time."""

    path: str
    workspace: str
    gpu: str
    max_unpacked_bytes: int
    memory_bytes: int
    cpu_s: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def main(request: Request) -> None:
    # Before the large imports: they are limited too.
    limit_resources(
        memory_bytes=_mapped_bytes(request) + request.memory_bytes,
        file_bytes=request.max_unpacked_bytes + _TAR_EXTRA_BYTES,
        cpu_s=request.cpu_s,
    )
    sys.stdout.write(json.dumps(inspect(request, sys.stdin.buffer.read())))


def _mapped_bytes(request: Request) -> int:
    """Of an archive, files of it are mapped; else the file itself."""
    with Path(request.path).open("rb") as file:
        if is_archive(file.read(HEAD_BYTES)):
            return request.max_unpacked_bytes
        return file.seek(0, os.SEEK_END)


def inspect(request: Request, sample: bytes) -> dict[str, Any]:
    """The answer. Raises what is neither the file's fault nor the disk's."""
    from modelyard.errors import InvalidArgumentError

    try:
        return _found(request, sample)
    except InvalidArgumentError as error:
        return {"refused": error.message}
    except MemoryError:
        return {"refused": "looking at the file takes more memory than a model's structure needs; export it again"}
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"no_room": "the controller's disk has no room to unpack the archive; make some, or try again later"}
        if error.errno in (errno.ENAMETOOLONG, errno.EFBIG):
            return {"refused": f"the archive cannot be unpacked: {error.strerror}; pack only the model's folder"}
        raise


def _found(request: Request, sample: bytes) -> dict[str, Any]:
    from controlplane.registry.formats.model_file import inspect_file
    from controlplane.registry.signature_json import details_to_json, signature_to_json

    inspected = inspect_file(
        Path(request.path),
        Path(request.workspace),
        gpu=request.gpu,
        sample=sample,
        max_unpacked_bytes=request.max_unpacked_bytes,
    )
    if inspected.sample is not None:
        (Path(request.workspace) / SAMPLE_FILE).write_bytes(inspected.sample)
    return {
        "format": inspected.format,
        "packaging": inspected.packaging,
        "signature": signature_to_json(inspected.signature),
        "details": details_to_json(inspected.details),
        "file": str(inspected.file),
        "has_sample": inspected.sample is not None,
    }


def limit_resources(*, memory_bytes: int, file_bytes: int, cpu_s: int) -> None:
    # Each thread of numpy's would reserve address space.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    wanted = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in wanted.items():
        hard = resource.getrlimit(limit)[1]
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lowest, lowest))


if __name__ == "__main__":
    main(Request(**json.loads(sys.argv[1])))
