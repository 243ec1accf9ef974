"""The built-in model server: one model in a process of its own, answering KServe v2 over gRPC.

    python -m nodeagent.modelserver --model NAME --version N --file PATH [--port 0 --ready-fd FD ...]

SIGTERM drains it (`drain.py`). Exit codes: `exit_codes.py`; the last line on standard error says why.
"""

import os

# Read when onnxruntime is imported, which would else leave files behind and report to its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
