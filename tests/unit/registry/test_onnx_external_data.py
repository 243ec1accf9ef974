"""Weights in files beside the model: which files, and that all of them are there."""

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from controlplane.registry.formats.onnx_external_data import take_external_data
from controlplane.registry.formats.onnx_file import read_onnx
from modelyard.errors import InvalidArgumentError
from tests.harness.onnx_pieces import linear_bytes, make_linear, make_model, tensor


def external(name: str, location: str, dims: tuple[int, ...] = (3, 2), **told: str) -> Any:
    weights = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **told}.items():
        weights.external_data.add(key=key, value=value)
    return weights


def linear(*weights: Any) -> Any:
    model = make_linear()
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    return model


def test_the_files_are_listed_and_the_model_is_whole(tmp_path: Path) -> None:
    model = linear(external("w", "./b/weights"), external("u", "a", offset="8", length="24"))
    (tmp_path / "m").write_bytes(model.SerializeToString())
    read = read_onnx(tmp_path / "m", {"m": 1, "a": 32, "b/weights": 24, "other": 5})
    assert read.details.external_data_files == ("a", "b/weights")
    assert read.signature == read_onnx(write(tmp_path / "n", linear_bytes())).signature


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_model_that_was_sent_alone_lacks_them() -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"'w' are in another file, 'a'; register the folder that holds both"
    ):
        take_external_data(linear(external("w", "a")), None)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (external("w", "b"), "'b', which is not beside the model"),
        (external("w", "a", dims=(3, 3)), "too short.*it has 24 bytes.*take 36"),
        (external("w", "a", offset="1"), "too short"),
        (external("w", "a", offset="30"), "too short"),
        (external("w", "a", length="25"), "too short"),
        (external("w", "a", length="4"), "too short"),
        (external("w", "a", offset="-1"), "offset '-1', no number"),
        (external("w", "a", length="many"), "length 'many', no number"),
        (external("w", "../../etc/passwd"), r"'\.\./\.\./etc/passwd'; they have to lie in the model's folder"),
        (external("w", "/etc/passwd"), "have to lie in the model's folder"),
        (external("w", "*/_ORT_MEM_ADDR_/*", offset="140000000000000"), "not beside the model"),
        (external("w", ""), "have to lie in the model's folder"),
    ],
)
def test_what_is_not_all_there_is_refused(weights: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        take_external_data(linear(weights), {"model.onnx": 1, "a": 24})


def test_weights_in_every_corner_of_a_model_are_seen() -> None:
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("values", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("indices", TensorProto.INT64, [1], [0]),
        [3],
    )
    sparse.values.CopyFrom(external("values", "sparse", dims=(1,)))
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["b"], value=external("c", "branch"))], "branch", [], [tensor("b")]
    )
    model = make_model(nodes=[helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)])
    model.graph.sparse_initializer.append(sparse)
    constant = helper.make_node("Constant", [], ["y"], value=external("f", "function"))
    model.functions.append(helper.make_function("mine", "F", [], ["y"], [constant], []))
    sizes = {"sparse": 4, "branch": 24, "function": 24}
    assert take_external_data(model, sizes) == ("branch", "function", "sparse")
    assert b"location" not in model.SerializeToString()
