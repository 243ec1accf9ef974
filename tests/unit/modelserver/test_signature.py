"""What onnxruntime says of a model, in the words of KServe v2."""

from dataclasses import dataclass

import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2

from modelyard.datatypes import DATATYPES
from modelyard.errors import InvalidArgumentError
from nodeagent.modelserver import description
from nodeagent.modelserver.batch import BatchLimits
from nodeagent.modelserver.datatypes import config_name
from nodeagent.modelserver.session import Engine
from nodeagent.modelserver.signature import Signature, signature_of


@dataclass
class Node:
    name: str
    type: str
    shape: list[int | str | None]


def make(inputs: list[Node], outputs: list[Node]) -> Signature:
    return signature_of(inputs, outputs)


BATCHED = make(
    [Node("x", "tensor(float)", ["b", 3]), Node("s", "tensor(string)", [None])], [Node("y", "tensor(int64)", ["b"])]
)
KIND_GPU = model_config_pb2.ModelInstanceGroup.KIND_GPU
ENGINE = Engine("tensorflow_savedmodel", "openvino", {"INFERENCE_NUM_THREADS": "2"})
FIXED = make([Node("x", "tensor(float16)", [2, "n"])], [Node("y", "tensor(bool)", [])])


def test_dimensions_that_vary_are_minus_one() -> None:
    assert [spec.shape for spec in BATCHED.inputs] == [(-1, 3), (-1,)]
    assert [spec.datatype.name for spec in BATCHED.inputs] == ["FP32", "BYTES"]


@pytest.mark.parametrize(
    ("shape", "accepted"), [((1, 3), True), ((0, 3), True), ((5, 3), True), ((1, 4), False), ((3,), False), ((), False)]
)
def test_shapes_are_checked_by_rank_and_dimension(shape: tuple[int, ...], accepted: bool) -> None:
    assert BATCHED.inputs[0].accepts(shape) is accepted


@pytest.mark.parametrize("kind", ["seq(tensor(float))", "seq(map(int64,tensor(float)))", "tensor(float8e4m3fn)"])
def test_what_v2_cannot_carry_is_refused(kind: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"output 'y' is a .* cannot carry"):
        make([], [Node("y", kind, [])])


def test_scikit_learn_gets_its_hint() -> None:
    with pytest.raises(InvalidArgumentError, match="zipmap=False"):
        make([], [Node("y", "seq(map(int64,tensor(float)))", [])])


def test_zeros_have_one_for_each_dimension_that_varies() -> None:
    assert BATCHED.inputs[0].zeros().tolist() == [[0, 0, 0]]
    assert BATCHED.inputs[1].zeros().tolist() == [""]
    assert FIXED.inputs[0].zeros().dtype == np.float16 and FIXED.inputs[0].zeros().shape == (2, 1)


def test_a_batch_dimension_is_one_that_all_tensors_begin_with() -> None:
    assert BATCHED.has_batch_dimension
    assert not FIXED.has_batch_dimension
    assert not make([], [Node("y", "tensor(float)", ["b"])]).has_batch_dimension


def test_the_config_leaves_the_batch_dimension_out() -> None:
    config = description.model_config("m", "3", BATCHED, ENGINE, max_batch_size=64).config
    assert config.max_batch_size == 64
    assert [list(tensor.dims) for tensor in config.input] == [[3], [1]]
    assert not config.input[0].HasField("reshape") and config.input[1].HasField("reshape")
    assert config.parameters["INFERENCE_NUM_THREADS"].string_value == "2"
    assert (config.platform, config.backend) == ("tensorflow_savedmodel", "openvino")


def test_the_config_without_a_batch_dimension_has_whole_shapes() -> None:
    config = description.model_config("m", "3", FIXED, ENGINE, max_batch_size=64).config
    assert config.max_batch_size == 0
    assert [list(tensor.dims) for tensor in config.input] == [[2, -1]]
    assert config.output[0].HasField("reshape")


def test_the_config_tells_how_requests_are_merged_and_where_they_are_computed() -> None:
    limits = BatchLimits(16, 300_000)
    config = description.model_config(
        "m", "3", BATCHED, ENGINE, max_batch_size=64, device="cuda", batches=limits
    ).config
    assert list(config.dynamic_batching.preferred_batch_size) == [16]
    assert config.dynamic_batching.max_queue_delay_microseconds == 300
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, KIND_GPU)]
    alone = description.model_config("m", "3", BATCHED, ENGINE, max_batch_size=64).config
    assert not alone.HasField("dynamic_batching") and alone.instance_group[0].kind != KIND_GPU


def test_the_metadata_has_whole_shapes() -> None:
    metadata = description.model_metadata("m", "3", BATCHED, ENGINE)
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("x", "FP32", [-1, 3]),
        ("s", "BYTES", [-1]),
    ]
    assert list(metadata.versions) == ["3"]


def test_every_datatype_has_a_name_in_a_config() -> None:
    assert {config_name(datatype) for datatype in DATATYPES} == set(model_config_pb2.DataType.keys()) - {"TYPE_INVALID"}
