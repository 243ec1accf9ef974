"""`python -m tests.integration.nodeagent.print_gpus`: what NVML tells here, as one line of JSON.

It reads the library in a process of its own: the dynamic linker looks at LD_LIBRARY_PATH when a process starts.
"""

import json
import sys
from dataclasses import asdict
from typing import Any

from nodeagent.devices.gpus import GpuLibraryError
from nodeagent.devices.nvml import open_nvml


def read_all() -> dict[str, Any]:
    library = open_nvml()
    try:
        found = library.list_gpus()
        readings = {gpu.uuid: asdict(library.read(gpu)) for gpu in found.gpus}
        has_events = library.watch_events(found.gpus)
        print("watching", flush=True)
        sys.stdin.readline()
        event = library.wait_event(1.0) if has_events else None
        after = {gpu.uuid: asdict(library.read(gpu)) for gpu in found.gpus}
        told = asdict(event) if event else None
        return {"found": asdict(found), "readings": readings, "has_events": has_events, "event": told, "after": after}
    finally:
        library.close()


if __name__ == "__main__":
    try:
        print(json.dumps(read_all()))
    except GpuLibraryError as error:
        print(json.dumps({"error": str(error), "is_absent": error.is_absent}))
