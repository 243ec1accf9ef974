"""The process that looks at model files: limited, and never a danger to its caller."""

import asyncio
import hashlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import helper, numpy_helper

from controlplane.domain import ModelFormat, OnnxDetails, Packaging, SavedModelDetails, TensorrtDetails
from controlplane.registry.formats.inspected import Inspected
from controlplane.registry.formats.inspection import ModelInspector
from controlplane.registry.formats.samples import check_sample
from modelyard.errors import InternalError, InvalidArgumentError, UnavailableError
from modelyard.packing import list_files, pack
from tests.harness.archive_pieces import tarred, zipped
from tests.harness.onnx_pieces import linear_bytes, make_model

SAVED_MODELS = Path(__file__).parents[2] / "data/savedmodels"


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


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    target = io.BytesIO()
    np.savez(target, **arrays)  # type: ignore[arg-type]
    return target.getvalue()


async def inspect(
    path: Path, inspector: ModelInspector | None = None, *, gpu: str = "", sample: bytes = b""
) -> Inspected:
    workspace = Path(tempfile.mkdtemp(dir=path.parent))
    return await (inspector or ModelInspector()).inspect(path, workspace=workspace, gpu=gpu, sample=sample)


async def test_a_model_has_a_signature_details_and_a_sample(tmp_path: Path) -> None:
    path = write(tmp_path / "m", linear_bytes())
    found = await inspect(path)
    assert [spec.name for spec in (*found.signature.inputs, *found.signature.outputs)] == ["x", "y"]
    assert (found.format, found.packaging, found.file) == (ModelFormat.ONNX, Packaging.FILE, path)
    assert found.details == OnnxDetails(8, {"": 17})
    assert found.sample is not None
    assert (await inspect(path, sample=found.sample)).sample == found.sample
    with pytest.raises(InvalidArgumentError, match="the sample"):
        await inspect(path, sample=b"no sample")


@pytest.mark.parametrize("name", ["cnn", "lstm", "two_in_two_out", "multi_signature"])
async def test_a_real_saved_model_is_taken_from_any_archive(tmp_path: Path, name: str) -> None:
    wanted = np.load(SAVED_MODELS / f"{name}.npz")
    kept = set()
    for kind in ("zip", "gztar"):
        found = await inspect(Path(shutil.make_archive(str(tmp_path / "model"), kind, SAVED_MODELS, name)))
        assert (found.format, found.packaging) == (ModelFormat.SAVEDMODEL, Packaging.TAR)
        assert isinstance(found.details, SavedModelDetails)
        assert found.details.tensorflow_version.count(".") == 2
        kept.add(hashlib.sha256(found.file.read_bytes()).hexdigest())
    assert kept == {hashlib.sha256(b"".join(pack(SAVED_MODELS / name, list_files(SAVED_MODELS / name)))).hexdigest()}
    # What TensorFlow itself was asked with is a sample that fits, and the one that was made is of its kind.
    given = {key.removeprefix("in/"): array for key, array in wanted.items() if key.startswith("in/")}
    check_sample(npz(given), found.signature)
    assert found.sample is not None
    made = np.load(io.BytesIO(found.sample))
    assert {key: made[key].dtype for key in made} == {key: array.dtype for key, array in given.items()}
    assert {spec.name for spec in found.signature.outputs} == {key[4:] for key in wanted if key.startswith("out/")}


async def test_a_real_saved_model_with_string_inputs_is_refused(tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "model"), "zip", SAVED_MODELS, "string_input"))
    with pytest.raises(InvalidArgumentError, match="is a string, and OpenVINO"):
        await inspect(archive)


async def test_a_plan_needs_its_gpu(tmp_path: Path) -> None:
    path = write(tmp_path / "m", b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + bytes(100))
    assert (await inspect(path, gpu="NVIDIA A10")).details == TensorrtDetails("10.3.0.26", "NVIDIA A10")
    with pytest.raises(InvalidArgumentError, match="--gpu"):
        await inspect(path)


async def test_an_archive_may_unpack_to_the_limit_and_no_further(tmp_path: Path) -> None:
    content = {"m/model.onnx": linear_bytes(), "m/zeros": bytes(8 << 20)}
    for kind in ("gz", "xz", "bz2"):
        path = write(tmp_path / kind, tarred(content, kind))
        assert (await inspect(path, ModelInspector(max_unpacked_bytes=9 << 20))).file.read_bytes() == linear_bytes()
        with pytest.raises(InvalidArgumentError, match="unpacks to more than 4194304 bytes"):
            await inspect(path, ModelInspector(max_unpacked_bytes=4 << 20))


async def test_an_entry_that_leads_out_of_the_workspace_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "of" / "uploads"
    folder.mkdir(parents=True)
    for archive in (zipped({"../../out": b"x"}), tarred({"../../out": b"x"}, "gz")):
        with pytest.raises(InvalidArgumentError, match="cannot be the path"):
            await inspect(write(folder / "m", archive))
    assert not list(tmp_path.rglob("out"))  # noqa: ASYNC240


async def test_weights_take_no_memory(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((256, 1024, 1024), np.uint8), "w")
    path = write(tmp_path / "m", make_model(weights=[weights]).SerializeToString())
    assert (await inspect(path, ModelInspector(memory_bytes=512 << 20))).signature.inputs[0].name == "x"


async def test_a_bad_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="looks like text"):
        await inspect(write(tmp_path / "m", b"hello"))


async def test_too_much_processor_time_is_the_files_fault(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="processor time"):
        await inspect(busy_model(tmp_path / "m"), ModelInspector(cpu_s=1))


async def test_too_much_memory_is_the_files_fault(tmp_path: Path) -> None:
    path = bulky_model(tmp_path / "m")
    with pytest.raises(InvalidArgumentError, match="more memory than"):
        await inspect(path, ModelInspector(memory_bytes=512 << 20))


async def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    path = busy_model(tmp_path / "m")
    before = children()
    with pytest.raises(UnavailableError, match=r"took more than .* s; try again"):
        await inspect(path, ModelInspector(timeout_s=0.01))
    assert children() <= before


async def test_a_caller_that_goes_away_ends_the_process(tmp_path: Path) -> None:
    path = busy_model(tmp_path / "m")
    before = children()
    task = asyncio.create_task(inspect(path))
    async with asyncio.timeout(20):
        while children() <= before:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() <= before


async def test_a_file_that_is_gone_is_a_defect_not_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="log"):
        await inspect(tmp_path / "nothing")
