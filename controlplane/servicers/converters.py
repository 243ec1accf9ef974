"""Domain values of the registry to and from their messages."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.domain import Alias, Model, ModelFormat, Signature, TensorSpec, Version
from controlplane.registry.announcement import Announcement
from controlplane.registry.artifacts import parse_sha256
from modelyard import resource_names
from modelyard.v1 import registry_pb2, resources_pb2

_FORMATS = {ModelFormat.ONNX: resources_pb2.MODEL_FORMAT_ONNX}


def timestamp_to_proto(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def announcement_from_proto(header: registry_pb2.CreateVersionRequest.Header) -> Announcement:
    """InvalidArgumentError for a parent or a sha256 that is none."""
    return Announcement(
        model=resource_names.parse_model_name(header.parent),
        size_bytes=header.size_bytes,
        sha256=parse_sha256(header.sha256),
        description=header.description,
        user=header.user,
        metrics=dict(header.metrics),
        parameters=dict(header.parameters),
        tags=dict(header.tags),
    )


def version_to_proto(version: Version) -> resources_pb2.Version:
    facts = version.facts
    return resources_pb2.Version(
        name=resource_names.version_name(version.model, version.number),
        model_id=version.model_id,
        model=version.model,
        number=version.number,
        format=_FORMATS[facts.format],
        uri=facts.uri,
        sha256=facts.sha256,
        size_bytes=facts.size_bytes,
        signature=_signature_to_proto(facts.signature),
        description=facts.description,
        user=facts.user,
        metrics=facts.metrics,
        parameters=facts.parameters,
        tags=facts.tags,
        create_time=timestamp_to_proto(version.created_at),
    )


def model_to_proto(model: Model) -> resources_pb2.Model:
    return resources_pb2.Model(
        name=resource_names.model_name(model.name),
        model=model.name,
        latest_version=model.latest_version,
        aliases=[alias_to_proto(alias) for alias in model.aliases],
        create_time=timestamp_to_proto(model.created_at),
    )


def alias_to_proto(alias: Alias) -> resources_pb2.Alias:
    return resources_pb2.Alias(
        name=resource_names.alias_name(alias.model, alias.name),
        model=alias.model,
        alias=alias.name,
        version=alias.version,
        user=alias.user,
        reason=alias.reason,
        update_time=timestamp_to_proto(alias.moved_at),
    )


def _signature_to_proto(signature: Signature) -> resources_pb2.Signature:
    return resources_pb2.Signature(
        inputs=[_spec_to_proto(spec) for spec in signature.inputs],
        outputs=[_spec_to_proto(spec) for spec in signature.outputs],
    )


def _spec_to_proto(spec: TensorSpec) -> resources_pb2.TensorSpec:
    return resources_pb2.TensorSpec(name=spec.name, datatype=spec.datatype, shape=spec.shape)
