from typing import Any

import pytest

from nodeagent.canary import make_canary
from nodeagent.replica_spec import ReplicaSpec, TensorSpec
from nodeagent.server_process import describe_exit


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


def test_a_large_one_is_not_made() -> None:
    assert make_canary(make_spec(TensorSpec("x", "UINT8", (64, 1 << 20))), "token")
    assert make_canary(make_spec(TensorSpec("x", "FP64", (9, 1 << 20))), "token") is None


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (0, "its process ended with code 0: last words"),
        (1, "its process ended with code 1: last words"),
        (-11, "its process was killed by SIGSEGV: last words"),
        (-9, "its process was killed by SIGKILL; the kernel does so when memory runs out"),
        (None, "its process ended: last words"),
    ],
)
def test_an_end_is_told_in_a_sentence(code: int | None, sentence: str) -> None:
    assert describe_exit(code, "last words") == sentence
