"""An ONNX file without its weights is the same model, and damage does not go unseen."""

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from controlplane.registry.formats.onnx_skeleton import compute_skeleton
from controlplane.registry.formats.protobuf_wire import CutOffError, WireError
from tests.harness.onnx_pieces import linear_bytes, make_model, tensor

LARGE = np.zeros((100, 100), np.float32)


def strip(content: bytes) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(compute_skeleton(memoryview(content)))


def test_a_small_model_stays_as_it_is() -> None:
    content = linear_bytes()
    assert compute_skeleton(memoryview(content)) == content


def test_large_weights_are_emptied_and_keep_name_and_type() -> None:
    model = make_model(weights=[numpy_helper.from_array(LARGE, "large"), numpy_helper.from_array(LARGE[0], "small")])
    content = model.SerializeToString()
    skeleton = strip(content)
    large, small = skeleton.graph.initializer
    assert (large.name, large.data_type, list(large.dims), large.raw_data) == ("large", TensorProto.FLOAT, [0], b"")
    assert small == model.graph.initializer[1]
    assert skeleton.ByteSize() < len(content) - LARGE.nbytes
    onnx.checker.check_model(skeleton)


@pytest.mark.parametrize("raw", [True, False])
def test_everything_but_the_weights_is_kept(raw: bool) -> None:
    values = LARGE.tobytes() if raw else LARGE.ravel()
    constant = helper.make_tensor("c", TensorProto.FLOAT, LARGE.shape, values, raw=raw)
    branch = helper.make_graph([helper.make_node("Constant", [], ["b"], value=constant)], "branch", [], [tensor("b")])
    model = make_model(
        nodes=[helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)], weights=[constant]
    )
    skeleton = strip(model.SerializeToString())
    for graph in (model.graph, skeleton.graph):
        tensors = [attribute.g.node[0].attribute[0].t for attribute in graph.node[0].attribute]
        for one in (*tensors, *graph.initializer):
            one.Clear()
    assert skeleton == model


def test_every_cut_of_a_model_is_seen() -> None:
    content = linear_bytes()
    for size in range(1, len(content)):
        try:
            model = strip(content[:size])
        except CutOffError:
            continue
        # A cut between two fields leaves a message that lacks one of them.
        assert not (model.HasField("graph") and model.opset_import)


def test_a_cut_tells_how_much_is_missing() -> None:
    content = make_model(weights=[numpy_helper.from_array(LARGE, "w")]).SerializeToString()
    with pytest.raises(CutOffError) as caught:
        strip(content[:-1000])
    assert 900 < caught.value.missing_bytes <= 1000


def test_a_field_that_leaves_its_message_is_damage_not_a_cut() -> None:
    tensor_field = b"\x2a\xff\x7f"  # initializer of 16,383 bytes, in a graph of 5,000
    graph = tensor_field + b"\0" * 4997
    content = b"\x08\x08\x3a" + bytes([0x88, 0x27]) + graph
    with pytest.raises(WireError) as caught:
        strip(content)
    assert not isinstance(caught.value, CutOffError)


def test_endless_nesting_is_refused() -> None:
    content = b"\x00" * 5000
    for tag in [b"\x32", b"\x2a", b"\x0a"] * 60:  # attribute.g, node.attribute, graph.node
        size = len(content)
        content = tag + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + content
    size = len(content)
    with pytest.raises(WireError):
        strip(b"\x3a" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + content)


@given(st.binary(max_size=200))
def test_noise_is_a_wire_error_or_a_message(noise: bytes) -> None:
    with contextlib.suppress(WireError):
        compute_skeleton(memoryview(noise))


@given(st.data())
def test_flipped_bytes_never_do_worse_than_a_wire_error(data: st.DataObject) -> None:
    content = bytearray(make_model(weights=[numpy_helper.from_array(LARGE[:12], "w")]).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content) - 1, 200)))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        compute_skeleton(memoryview(bytes(content)))
