"""Which models do the same work whatever the values are."""

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from nodeagent.modelserver.onnx_work import has_steady_work
from tests.harness.models import write_scale_model
from tests.harness.onnx_models import tensor, write_counting_model, write_model


def test_layers_are_steady(tmp_path: Path) -> None:
    assert has_steady_work(write_scale_model(tmp_path / "m.onnx", 2.0))


def test_loop_is_not(tmp_path: Path) -> None:
    assert not has_steady_work(write_counting_model(tmp_path / "m.onnx"))


def test_output_as_large_as_a_value_says_is_not(tmp_path: Path) -> None:
    file = write_model(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["n"], ["m"]), helper.make_node("ConstantOfShape", ["m"], ["y"])],
        [tensor("n", "INT64", [1])],
        [tensor("y", "FP32", ["found"])],
    )
    assert not has_steady_work(file)


def test_functions_of_its_own_are_not_looked_into(tmp_path: Path) -> None:
    body = [helper.make_node("Identity", ["a"], ["b"])]
    function = helper.make_function("own", "Same", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, functions=[function], opset_imports=[helper.make_opsetid("", 20)])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert not has_steady_work(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"", b"\x3a\xff", b"\x3f", b"\x3a\x02\x0a\x7f", b"\x08\xff\xff"])
def test_what_is_no_model_is_told_without_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert has_steady_work(tmp_path / "m.onnx") is (content == b"")


def test_large_files_are_not_read(tmp_path: Path) -> None:
    file = write_scale_model(tmp_path / "m.onnx", 2.0)
    with file.open("r+b") as opened:
        opened.truncate((64 << 20) + 1)
    assert not has_steady_work(file)
