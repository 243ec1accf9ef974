"""A process that computes on the GPU its environment gives it; it prints a JSON line for each line that it reads.

spin SECONDS     computes for so long: {"launches_per_s": ...}
allocate BYTES   {"allocated": true}, or false where the memory is not to be had
break ADDRESS    writes there, where it has no memory: {"code": ...}, the error of CUDA
"""

import json
import sys
import time

from tests.gpu.cuda_driver import OUT_OF_MEMORY, CudaError, Gpu, Spin

# The same work for each process, so that their speeds can be compared: many more blocks than any GPU runs at once, and
# some milliseconds of a large one.
_BLOCKS = 132 * 64
_ROUNDS = 2000


def main() -> None:
    gpu = Gpu()
    spin = gpu.load_spin()
    spin.run(_BLOCKS, _ROUNDS)
    print(json.dumps({"multiprocessors": gpu.count_multiprocessors()}), flush=True)
    for line in sys.stdin:
        word, argument = line.split()
        match word:
            case "spin":
                answer = _spin(spin, float(argument))
            case "allocate":
                answer = _allocate(gpu, int(argument))
            case _:
                answer = _break(spin, int(argument))
        print(json.dumps(answer), flush=True)


def _spin(spin: Spin, seconds: float) -> dict[str, float]:
    launches, start = 0, time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        spin.run(_BLOCKS, _ROUNDS)
        launches += 1
    return {"launches_per_s": launches / (now - start)}


def _break(spin: Spin, address: int) -> dict[str, float]:
    try:
        spin.at(address).run(1, 1)
    except CudaError as error:
        return {"code": error.code}
    return {"code": 0}


def _allocate(gpu: Gpu, size_bytes: int) -> dict[str, float]:
    try:
        gpu.allocate(size_bytes)
    except CudaError as error:
        if error.code != OUT_OF_MEMORY:
            raise
        return {"allocated": False}
    return {"allocated": True}


if __name__ == "__main__":
    main()
