"""Which files are taken, what is kept of them, and what the owner of another one is told."""

import io
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest

from controlplane.domain import ModelFormat, OnnxDetails, Packaging, SavedModelDetails, Signature, TensorrtDetails
from controlplane.registry.formats.inspected import Inspected
from controlplane.registry.formats.model_file import inspect_file
from modelyard.errors import InvalidArgumentError
from modelyard.packing import list_files, pack
from tests.harness.archive_pieces import files_below, tarred, zipped
from tests.harness.onnx_pieces import linear_bytes, make_linear
from tests.harness.savedmodel_pieces import saved_model, write_saved_model

PLAN = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + bytes(100)


def inspect(tmp_path: Path, content: bytes, *, gpu: str = "", sample: bytes = b"") -> Inspected:
    number = len(list(tmp_path.iterdir()))
    path, workspace = tmp_path / f"{number}-file", tmp_path / f"{number}-workspace"
    path.write_bytes(content)
    workspace.mkdir()
    return inspect_file(path, workspace, gpu=gpu, sample=sample, max_unpacked_bytes=1 << 20)


def external(location: str = "weights", name: str = "linear.onnx") -> dict[str, bytes]:
    """The folder of a model with its weights in another file."""
    model = make_linear()
    weights = model.graph.initializer[0]
    content = weights.raw_data
    onnx.external_data_helper.set_external_data(weights, location)
    weights.ClearField("raw_data")
    return {name: model.SerializeToString(), location: content}


def test_an_onnx_file_is_kept_as_it_is(tmp_path: Path) -> None:
    found = inspect(tmp_path, linear_bytes())
    assert (found.format, found.packaging) == (ModelFormat.ONNX, Packaging.FILE)
    assert found.file.read_bytes() == linear_bytes()
    assert found.sample is not None
    assert np.load(io.BytesIO(found.sample))["x"].shape == (1, 3)


def test_a_saved_model_is_the_same_from_whatever_archive_it_comes(tmp_path: Path) -> None:
    folder = write_saved_model(tmp_path / "model")
    files = files_below(folder)
    deep = {f"deep/er/{path}": content for path, content in files.items()}
    packed = b"".join(pack(folder, list_files(folder)))
    extra = {"README.md": b"beside it"}
    for archive in (packed, zipped(files), tarred(files), tarred(deep, "gz"), zipped(deep | extra), tarred(deep, "xz")):
        found = inspect(tmp_path, archive)
        assert (found.format, found.packaging) == (ModelFormat.SAVEDMODEL, Packaging.TAR)
        assert found.file.read_bytes() == packed
        assert isinstance(found.details, SavedModelDetails)
        assert found.signature == found.details.signatures["serving_default"]


def test_an_onnx_model_with_its_weights_beside_it_is_packed_with_them_alone(tmp_path: Path) -> None:
    found = inspect(tmp_path, zipped({f"m/{path}": c for path, c in external().items()} | {"m/notes.txt": b"hello"}))
    assert (found.format, found.packaging) == (ModelFormat.ONNX, Packaging.TAR)
    assert isinstance(found.details, OnnxDetails)
    assert found.details.external_data_files == ("weights",)
    assert found.file.read_bytes() == inspect(tmp_path, tarred(external())).file.read_bytes()
    assert found.signature == inspect(tmp_path, linear_bytes()).signature


def test_an_archive_of_one_onnx_file_is_that_file(tmp_path: Path) -> None:
    found = inspect(tmp_path, tarred({"m/resnet.onnx": linear_bytes(), "m/README": b"text"}, "bz2"))
    assert (found.packaging, found.file.read_bytes()) == (Packaging.FILE, linear_bytes())


def test_names_do_not_matter(tmp_path: Path) -> None:
    assert inspect(tmp_path, zipped({"model.txt": linear_bytes()})).format is ModelFormat.ONNX


def test_weights_that_begin_like_a_model_are_not_one(tmp_path: Path) -> None:
    files = external()
    files["weights"] = b"\x08\x01\x12\x70" + files["weights"][4:]
    assert inspect(tmp_path, zipped(files)).format is ModelFormat.ONNX


def test_nothing_that_was_unpacked_stays_beside_what_is_kept(tmp_path: Path) -> None:
    found = inspect(tmp_path, zipped(external()))
    assert list(found.file.parent.iterdir()) == [found.file]


def test_a_plan_is_kept_with_its_gpu(tmp_path: Path) -> None:
    found = inspect(tmp_path, PLAN, gpu="NVIDIA A10")
    assert (found.format, found.packaging, found.signature) == (
        ModelFormat.TENSORRT,
        Packaging.FILE,
        Signature((), ()),
    )
    assert found.details == TensorrtDetails("10.3.0.26", "NVIDIA A10")
    assert found.sample is None


def test_a_given_sample_is_kept_as_it_is_if_it_fits(tmp_path: Path) -> None:
    target = io.BytesIO()
    np.savez(target, x=np.ones((4, 3), np.float32))
    assert inspect(tmp_path, linear_bytes(), sample=target.getvalue()).sample == target.getvalue()
    assert inspect(tmp_path, PLAN, gpu="A10", sample=target.getvalue()).sample == target.getvalue()
    with pytest.raises(InvalidArgumentError, match="the sample"):
        inspect(tmp_path, linear_bytes(), sample=b"x")


def test_a_gpu_is_for_plans(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="without --gpu"):
        inspect(tmp_path, linear_bytes(), gpu="A10")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a/saved_model.pb": saved_model(), "b/saved_model.pb": saved_model()}, "2 models in it: 'a', 'b'"),
        ({"a.onnx": linear_bytes(), "b.onnx": linear_bytes()}, r"2 models in it: 'a\.onnx', 'b\.onnx'"),
        ({"m/saved_model.pb": saved_model(), "x.onnx": linear_bytes()}, r"2 models in it: 'm', 'x\.onnx'"),
        ({"plan": PLAN}, "no ONNX model, only 'plan'"),
        ({}, "only nothing"),
        ({str(n): b"x" for n in range(12)}, r"only '0', '1', .* and 2 more"),
        ({"x.onnx": b"\x08\x08\x12\x7fgarbage"}, "ONNX file is cut off"),
        ({"x.onnx": b"garbage"}, "not a model"),
        ({"m/saved_model.pb": saved_model()[:-3]}, "saved_model.pb is cut off: 3 or more bytes"),
        ({"m/saved_model.pb": b"\xff" * 30}, "saved_model.pb is damaged"),
        ({"m/saved_model.pbtxt": b"text"}, "text form"),
        (external(name="model"), r"name the model's file \*\.onnx"),
        (external(location="weights.onnx"), r"name the model's file \*\.onnx"),
        ({"linear.onnx": external()["linear.onnx"]}, "'weights', which is not beside the model"),
    ],
)
def test_an_archive_has_one_whole_model(tmp_path: Path, files: dict[str, bytes], told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        inspect(tmp_path, zipped(files))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"import torch\nmodel = 1\n", "looks like text"),
        ("Straße\n".encode() * 300, "looks like text"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (pickle.dumps({"weights": [1]}), r"pickle.*torch\.onnx\.export\("),
        (zipped({"archive/data.pkl": b"", "archive/data/0": b""}), r"PyTorch file.*torch\.onnx\.export\("),
        (tarred({"sys_info": b"", "pickle": b"", "storages": b"", "tensors": b""}), r"PyTorch.*torch\.onnx\.export\("),
        (zipped({"config.json": b"", "model.weights.h5": b""}), "Keras"),
        (zipped({"a.txt": b"x"}), "no ONNX model, only 'a.txt'"),
        (zipped({"dir/resnet.onnx": b"x"})[:20], "cut off"),
        (PLAN, "--gpu"),
        (PLAN[:20], "TensorRT plan is cut off"),
        ((100).to_bytes(4, "little") + b'{"' + bytes(98) + PLAN, r"Ultralytics.*first 104 bytes"),
        (b"\x1f\x8b\x08\x00", "damaged|holds no tar"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd.*zip or"),
        (b"\x89HDF\r\n\x1a\n", "HDF5.*SavedModel"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"\x50\x00\x00\x00\x00\x00\x00\x00" + b'{"__metadata__"', "safetensors"),
        (b"\x7fELF\x02", "program"),
        (b"\x00\x01\x02\xff" * 50, "not a model.*SavedModel or a TensorRT plan"),
        (saved_model(), "saved_model.pb.*register the whole folder"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        inspect(tmp_path, content)
