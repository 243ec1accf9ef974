"""Looks at one model file, in a process of its own: a hostile file costs this process, never the controller.

`python -m controlplane.registry.inspect_model PATH MEMORY_BYTES CPU_S` prints one JSON object: {"signature": ...} or
{"refused": "a sentence"}. MEMORY_BYTES is address space beside the file itself, CPU_S seconds of processor time.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any


def main(path: Path, memory_bytes: int, cpu_s: int) -> None:
    # Before the large imports: they are limited too.
    _limit_resources(path.stat().st_size + memory_bytes, cpu_s)
    sys.stdout.write(json.dumps(_inspect(path)))


def _inspect(path: Path) -> dict[str, Any]:
    from controlplane.registry.onnx_file import read_signature
    from controlplane.registry.signature_json import signature_to_json
    from modelyard.errors import InvalidArgumentError

    try:
        return {"signature": signature_to_json(read_signature(path))}
    except InvalidArgumentError as error:
        return {"refused": error.message}
    except MemoryError:
        return {"refused": "looking at the file takes more memory than a model's structure needs; export it again"}


def _limit_resources(memory_bytes: int, cpu_s: int) -> None:
    # Each thread of numpy's would reserve address space.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    wanted = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in wanted.items():
        hard = resource.getrlimit(limit)[1]
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lowest, lowest))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
