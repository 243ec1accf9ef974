"""Gives mutated files to the readers, many in one process, within the limits that a single one would have.

`python -m tests.fuzz.worker KIND SEED COUNT FOLDER` prints one JSON object: how many were taken and refused, and the
most memory that it had, in bytes, before and after. It ends with a traceback at the first error that is no refusal and
at the first file that takes longer than ITEM_TIMEOUT_S, and leaves that file in FOLDER as "file".
"""

import faulthandler
import json
import shutil
import sys
import zipfile
from collections import Counter
from pathlib import Path
from random import Random

from controlplane.registry.formats.inspect_model import Request, inspect, limit_resources
from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import SEEDS
from tests.harness.archive_pieces import zipped
from tests.harness.onnx_pieces import linear_bytes

ITEM_TIMEOUT_S = 20
MEMORY_BYTES = 2 << 30
FILE_BYTES = 64 << 20
_MAX_UNPACKED_BYTES = 16 << 20


def main(kind: str, seed: int, count: int, folder: Path) -> None:
    limit_resources(memory_bytes=MEMORY_BYTES, file_bytes=FILE_BYTES, cpu_s=count // 10 + 60)
    chance, seeds = Random(seed), SEEDS[kind]()
    outcomes: Counter[str] = Counter()
    for content in seeds:
        # So that the mutations start from what is read to its end, and the memory of that is known.
        outcomes["good"] += try_one(kind, content, folder) == "taken"
    before_bytes = peak_memory_bytes()
    for _ in range(count):
        outcomes[try_one(kind, mutate(chance, seeds), folder)] += 1
    print(json.dumps({**outcomes, "before_bytes": before_bytes, "after_bytes": peak_memory_bytes()}))


def try_one(kind: str, content: bytes, folder: Path) -> str:
    """ "taken" or "refused"; every other error comes out."""
    workspace, path = folder / "workspace", folder / "file"
    workspace.mkdir()
    path.write_bytes(_as_file(kind, content))
    request = Request(
        path=str(path),
        workspace=str(workspace),
        gpu="A10" if kind == "plan" else "",
        max_unpacked_bytes=_MAX_UNPACKED_BYTES,
        memory_bytes=MEMORY_BYTES,
        cpu_s=0,
    )
    faulthandler.dump_traceback_later(ITEM_TIMEOUT_S, exit=True)
    answer = json.loads(json.dumps(inspect(request, content if kind == "npz" else b"")))
    faulthandler.cancel_dump_traceback_later()
    shutil.rmtree(workspace)
    assert {entry.name for entry in folder.iterdir()} == {"file"}, "a file came out beside the workspace"
    if "refused" not in answer:
        return "taken"
    assert answer["refused"].isprintable(), answer["refused"]
    return "refused"


def _as_file(kind: str, content: bytes) -> bytes:
    if kind == "npz":
        return linear_bytes()
    if kind == "savedmodel":
        shards = {"variables/variables.index": b"", "variables/variables.data-00000-of-00001": b""}
        return zipped({"saved_model.pb": content, **shards}, zipfile.ZIP_STORED)
    return content


def peak_memory_bytes() -> int:
    """Of this process alone: what getrusage tells begins with that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
