"""A client program needs the client's own dependencies and none of those of the yard's programs."""

import subprocess
import sys
from typing import Any

BLOCKED = [
    "alembic", "envoy", "fsspec", "grpc_health", "grpc_reflection", "ml_metadata", "onnx", "onnxruntime", "psutil",
    "pydantic", "pydantic_settings", "rich", "sqlalchemy", "typer", "controlplane", "nodeagent", "router",
]  # fmt: skip

SCRIPT = """
import asyncio, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is not installed for a client")

BLOCKED, address = set(sys.argv[2].split(",")), sys.argv[1]
sys.meta_path.insert(0, Block())
import modelyard
assert not {"numpy", "grpc"} & set(sys.modules), "importing modelyard must be quick"
import numpy as np
with modelyard.Client(address) as yard:
    assert yard.infer("resnet", x=[[1.0, 2.0]])["x"].tolist() == [[1.0, 2.0]]

async def main():
    async with modelyard.aio.Client(address) as yard:
        assert (await yard.infer("resnet", x=np.ones(2)))["x"].tolist() == [1.0, 1.0]
        try:
            await yard.infer("../x", x=np.ones(2))
        except modelyard.errors.InvalidArgumentError:
            print("served")

asyncio.run(main())
"""


def test_it_works_without_what_only_the_programs_need(server: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, server.address, ",".join(BLOCKED)], check=False, capture_output=True, text=True
    )
    assert done.stdout == "served\n", done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    script = "import modelyard\ntry: modelyard.nonsense\nexcept AttributeError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "nonsense" in done.stdout
