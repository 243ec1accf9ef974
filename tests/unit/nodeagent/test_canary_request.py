from typing import Any

import pytest

from nodeagent.canary import make_canary
from nodeagent.replica_spec import ReplicaSpec, TensorSpec


def make_spec(*inputs: TensorSpec) -> ReplicaSpec:
    return ReplicaSpec("r1", "resnet", 3, "MODEL_FORMAT_ONNX", "ab" * 32, 10, inputs, (), 1, 0)


def canary_of(*inputs: TensorSpec) -> Any:
    canary = make_canary(make_spec(*inputs), "token")
    assert canary is not None
    return canary


def test_a_canary_names_its_model_and_fills_every_input() -> None:
    canary = canary_of(TensorSpec("x", "FP32", (-1, 3)), TensorSpec("mask", "BOOL", (2, -1)))
    assert (canary.model_name, canary.model_version, canary.id) == ("resnet", "3", "token")
    assert [(i.name, i.datatype, list(i.shape)) for i in canary.inputs] == [
        ("x", "FP32", [1, 3]),
        ("mask", "BOOL", [2, 1]),
    ]
    assert list(canary.raw_input_contents) == [bytes(12), bytes(2)]


@pytest.mark.parametrize(
    ("datatype", "size_bytes"),
    [
        *[("BOOL", 1), ("UINT8", 1), ("INT8", 1), ("INT16", 2), ("UINT16", 2), ("FP16", 2), ("BF16", 2)],
        *[("INT32", 4), ("UINT32", 4), ("FP32", 4), ("INT64", 8), ("UINT64", 8), ("FP64", 8), ("BYTES", 4)],
    ],
)
def test_each_datatype_has_its_size(datatype: str, size_bytes: int) -> None:
    canary = canary_of(TensorSpec("x", datatype, (2, 3)))
    assert len(canary.raw_input_contents[0]) == 6 * size_bytes


def test_a_scalar_and_an_empty_tensor_are_possible() -> None:
    canary = canary_of(TensorSpec("s", "FP32", ()), TensorSpec("e", "FP32", (0, 4)))
    assert [len(raw) for raw in canary.raw_input_contents] == [4, 0]


def test_a_server_of_others_gets_a_scalar_as_one_element() -> None:
    canary = make_canary(make_spec(TensorSpec("s", "INT64", ())), "")
    assert canary is not None
    assert (list(canary.inputs[0].shape), canary.id, canary.raw_input_contents[0]) == ([1], "", bytes(8))


def test_a_large_one_is_not_made() -> None:
    assert make_canary(make_spec(TensorSpec("x", "UINT8", (64, 1 << 20))), "token")
    assert make_canary(make_spec(TensorSpec("x", "FP64", (9, 1 << 20))), "token") is None
