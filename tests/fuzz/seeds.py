"""The good files that are mutated, by kind."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelyard.packing import list_files, pack
from tests.harness.archive_pieces import files_below, tarred, zipped
from tests.harness.onnx_pieces import linear_bytes, make_linear, make_model, tensor

SAVED_MODELS = Path(__file__).parents[1] / "data/savedmodels"


def onnx_files() -> list[bytes]:
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["b"])], "branch", [], [tensor("b")])
    large = numpy_helper.from_array(np.zeros((100, 100), np.float32), "large")
    nested = make_model(
        nodes=[
            helper.make_node("Constant", [], ["c"], value=helper.make_tensor("v", TensorProto.BOOL, (), [True])),
            helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ],
        weights=[large],
    )
    own = make_model(nodes=[helper.make_node("Mine", ["x"], ["y"], domain="mine")])
    own.opset_import.append(helper.make_opsetid("mine", 1))
    relu = helper.make_node("Relu", ["x"], ["y"])
    own.functions.append(helper.make_function("mine", "Mine", ["x"], ["y"], [relu], [helper.make_opsetid("", 17)]))
    return [linear_bytes(), nested.SerializeToString(), own.SerializeToString()]


def saved_model_files() -> list[bytes]:
    """Of some kilobytes each."""
    return [path.read_bytes() for path in sorted(SAVED_MODELS.glob("*/saved_model.pb")) if path.stat().st_size < 60_000]


def _folder() -> dict[str, bytes]:
    return files_below(SAVED_MODELS / "two_in_two_out")


def _onnx_folder() -> dict[str, bytes]:
    model = make_linear()
    weights = model.graph.initializer[0]
    content = weights.raw_data
    onnx.external_data_helper.set_external_data(weights, "weights", offset=0, length=len(content))
    weights.ClearField("raw_data")
    return {"m/linear.onnx": model.SerializeToString(), "m/weights": content}


def zips() -> list[bytes]:
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return [zipped(files, kind) for files in (_folder(), _onnx_folder()) for kind in kinds]


def tars() -> list[bytes]:
    folder = SAVED_MODELS / "two_in_two_out"
    long = {f"{'deep/' * 40}{name}": content for name, content in _onnx_folder().items()}
    kinds = ("", "gz", "bz2", "xz")
    packed = [tarred(files, kind) for files in (_onnx_folder(), long) for kind in kinds]
    return [*packed, b"".join(pack(folder, list_files(folder)))]


def plans() -> list[bytes]:
    return [b"ftrt" + bytes(20) + bytes([10, 3, 0, 26]) + bytes(range(256))]


def samples() -> list[bytes]:
    """For linear_bytes()."""
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, x=np.ones((2, 3), np.float32))
    np.savez_compressed(packed, x=np.ones((2, 3), np.float32), y=np.array(["a", "b"]))
    return [plain.getvalue(), packed.getvalue()]


SEEDS = {
    "onnx": onnx_files,
    "savedmodel": saved_model_files,
    "zip": zips,
    "tar": tars,
    "plan": plans,
    "npz": samples,
}
