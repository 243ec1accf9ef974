"""The process that looks at model files: limited, and never a danger to its caller."""

import asyncio
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import helper, numpy_helper

from controlplane.registry.inspection import ModelInspector
from modelyard.errors import InternalError, InvalidArgumentError, UnavailableError
from tests.harness.onnx_pieces import linear_bytes, make_model


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def busy_model(path: Path) -> Path:
    """A million nodes: some seconds of work. A second graph field is merged into the first."""
    node = helper.make_node("Identity", ["x"], ["y"]).SerializeToString()
    nodes = (b"\x0a" + bytes([len(node)]) + node) * 1_000_000
    size = len(nodes)
    length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 21])
    return write(path, linear_bytes() + b"\x3a" + length + nodes)


def bulky_model(path: Path) -> Path:
    """256 MB that are no weights: a doc_string of the model."""
    content = linear_bytes() + b"\x32\x80\x80\x80\x80\x01"
    with path.open("wb") as file:
        file.write(content)
        file.truncate(len(content) + (256 << 20))
    return path


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


async def test_a_model_has_a_signature(tmp_path: Path) -> None:
    signature = await ModelInspector().inspect(write(tmp_path / "m", linear_bytes()))
    assert [spec.name for spec in (*signature.inputs, *signature.outputs)] == ["x", "y"]


async def test_weights_take_no_memory(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((256, 1024, 1024), np.uint8), "w")
    path = write(tmp_path / "m", make_model(weights=[weights]).SerializeToString())
    assert (await ModelInspector(memory_bytes=512 << 20).inspect(path)).inputs[0].name == "x"


async def test_a_bad_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="looks like text"):
        await ModelInspector().inspect(write(tmp_path / "m", b"hello"))


async def test_too_much_processor_time_is_the_files_fault(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="processor time"):
        await ModelInspector(cpu_s=1).inspect(busy_model(tmp_path / "m"))


async def test_too_much_memory_is_the_files_fault(tmp_path: Path) -> None:
    path = bulky_model(tmp_path / "m")
    with pytest.raises(InvalidArgumentError, match="more memory than"):
        await ModelInspector(memory_bytes=512 << 20).inspect(path)


async def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    path = busy_model(tmp_path / "m")
    before = children()
    with pytest.raises(UnavailableError, match=r"more than 0\.01 s"):
        await ModelInspector(timeout_s=0.01).inspect(path)
    assert children() == before


async def test_a_caller_that_goes_away_ends_the_process(tmp_path: Path) -> None:
    path = busy_model(tmp_path / "m")
    before = children()
    task = asyncio.create_task(ModelInspector().inspect(path))
    async with asyncio.timeout(20):
        while children() == before:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before


async def test_a_file_that_is_gone_is_a_defect_not_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="log"):
        await ModelInspector().inspect(tmp_path / "nothing")
