import pytest

from modelyard.errors import InvalidArgumentError
from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.replica_spec import parse_spec


def make_desired(replica_id: str = "resnet-7", sha256: str = "ab" * 32) -> agent_pb2.DesiredReplica:
    tensor = resources_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 4])
    version = resources_pb2.Version(
        model="resnet",
        number=3,
        format=resources_pb2.MODEL_FORMAT_ONNX,
        sha256=sha256,
        size_bytes=10,
        signature=resources_pb2.Signature(inputs=[tensor]),
    )
    allocation = resources_pb2.Allocation(cores=[3, 1], threads=2, memory_bytes=100)
    return agent_pb2.DesiredReplica(replica_id=replica_id, version=version, allocation=allocation)


def test_what_running_it_takes_is_kept() -> None:
    spec = parse_spec(make_desired())
    assert (spec.model_id, spec.format, spec.cores, spec.threads) == ("resnet@3", "MODEL_FORMAT_ONNX", (1, 3), 2)
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in spec.inputs] == [("x", "FP32", (-1, 4))]


def test_words_about_a_version_do_not_make_it_another_replica() -> None:
    described = make_desired()
    described.version.description = "better"
    described.version.tags["team"] = "vision"
    assert parse_spec(described) == parse_spec(make_desired())


def test_memory_is_a_limit_only_where_a_controller_says_that_it_was_stated() -> None:
    desired = make_desired()  # as a controller of an earlier release sends it
    assert parse_spec(desired).is_memory_estimated
    desired.allocation.is_memory_estimated = True
    assert parse_spec(desired).is_memory_estimated
    desired.allocation.is_memory_estimated = False
    assert not parse_spec(agent_pb2.DesiredReplica.FromString(desired.SerializeToString())).is_memory_estimated


@pytest.mark.parametrize("replica_id", ["", "..", "../x", "a/b", ".hidden", "a" * 251, "a\n", "a b"])
def test_an_id_that_could_leave_its_folder_is_refused(replica_id: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be the id of a replica"):
        parse_spec(make_desired(replica_id=replica_id))


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "AB" * 32, "ab" * 31])
def test_a_checksum_that_is_none_is_refused(sha256: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not a SHA-256"):
        parse_spec(make_desired(sha256=sha256))


def test_a_folder_is_told_by_its_packaging() -> None:
    desired = make_desired()
    assert not parse_spec(desired).is_packed
    desired.version.packaging = resources_pb2.PACKAGING_FILE
    assert parse_spec(desired) == parse_spec(make_desired())
    desired.version.packaging = resources_pb2.PACKAGING_TAR
    assert parse_spec(desired).is_packed


def test_outputs_are_kept_of_savedmodels_only() -> None:
    desired = make_desired()
    desired.version.signature.outputs.add(name="y", datatype="FP32", shape=[-1])
    assert parse_spec(desired).output_names == ()
    desired.version.format = resources_pb2.MODEL_FORMAT_SAVEDMODEL
    assert parse_spec(desired).output_names == ("y",)


@pytest.mark.parametrize("field", ["format", "packaging"])
def test_what_a_later_release_added_is_refused(field: str) -> None:
    desired = make_desired()
    setattr(desired.version, field, 99)
    with pytest.raises(InvalidArgumentError, match=r"does not know \(99\): install the same release"):
        parse_spec(desired)
