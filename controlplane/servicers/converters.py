"""Domain values of the registry to and from their messages."""

import json
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.domain import (
    Alias,
    AliasMove,
    FormatDetails,
    Model,
    ModelFormat,
    MoveKind,
    OnnxDetails,
    Origin,
    Packaging,
    SavedModelDetails,
    Signature,
    Source,
    TensorrtDetails,
    TensorSpec,
    Version,
    VersionChange,
    VersionDraft,
)
from controlplane.registry.announcement import Announcement, check_count
from controlplane.registry.files.artifacts import parse_sha256
from modelyard import resource_names
from modelyard.errors import InvalidArgumentError
from modelyard.v1 import registry_pb2, resources_pb2

FORMATS = {
    ModelFormat.ONNX: resources_pb2.MODEL_FORMAT_ONNX,
    ModelFormat.SAVEDMODEL: resources_pb2.MODEL_FORMAT_SAVEDMODEL,
    ModelFormat.TENSORRT: resources_pb2.MODEL_FORMAT_TENSORRT,
}
_PACKAGINGS = {Packaging.FILE: resources_pb2.PACKAGING_FILE, Packaging.TAR: resources_pb2.PACKAGING_TAR}
_MOVES = {
    MoveKind.SET: resources_pb2.AliasMove.SET,
    MoveKind.ROLLBACK: resources_pb2.AliasMove.ROLLBACK,
    MoveKind.REMOVE: resources_pb2.AliasMove.REMOVE,
}


def timestamp_to_proto(moment: datetime | None) -> Timestamp | None:
    """None, which leaves a field unset, for None."""
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def announcement_from_proto(header: registry_pb2.CreateVersionRequest.Header, *, is_sent: bool = True) -> Announcement:
    """InvalidArgumentError for a parent or a sha256 that is none, and for more entries than are ever taken.

    `is_sent`: the file comes with the call, so that its sha256 must be there; else it may be left out.
    """
    for kind in ("metrics", "parameters", "tags"):
        # Before they are copied: that of a million takes seconds, in which nobody else is answered.
        check_count(kind, len(getattr(header, kind)))
    return Announcement(
        model=resource_names.parse_model_name(header.parent),
        size_bytes=header.size_bytes,
        sha256=parse_sha256(header.sha256) if is_sent or header.sha256 else "",
        description=header.description,
        user=header.user,
        metrics=dict(header.metrics),
        parameters=dict(header.parameters),
        tags=dict(header.tags),
        source=Source(header.source.git_commit, header.source.training_run, header.source.dataset_uri),
        sample=header.sample,
        gpu=header.gpu,
        offset_bytes=header.offset_bytes,
        origin=_origin_from_proto(header.origin) if header.HasField("origin") else None,
    )


def _origin_from_proto(origin: resources_pb2.Origin) -> Origin:
    try:
        created = origin.create_time.ToDatetime(tzinfo=UTC) if origin.HasField("create_time") else None
    except (OverflowError, ValueError) as error:
        raise InvalidArgumentError(f"origin.create_time is no moment: {error}") from error
    return Origin(origin.model_id, origin.user, created)


def version_to_proto(version: Version) -> resources_pb2.Version:
    facts = version.facts
    return resources_pb2.Version(
        name=resource_names.version_name(version.model, version.number),
        model_id=version.model_id,
        model=version.model,
        number=version.number,
        format=FORMATS[facts.format],
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
        packaging=_PACKAGINGS[facts.packaging],
        details=_details_to_proto(facts.details) if facts.details else None,
        source=_source_to_proto(facts.source),
        sample=_sample_to_proto(facts),
        origin=_origin_to_proto(facts.origin) if facts.origin else None,
        revision=version.revision,
        delete_time=timestamp_to_proto(version.deleted_at),
        purge_time=timestamp_to_proto(version.purged_at),
    )


def change_to_proto(change: VersionChange) -> resources_pb2.VersionChange:
    return resources_pb2.VersionChange(
        revision=change.revision,
        user=change.author.user,
        reason=change.author.reason,
        time=timestamp_to_proto(change.author.at),
        changes_json=json.dumps(change.changes),
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


def move_to_proto(move: AliasMove) -> resources_pb2.AliasMove:
    return resources_pb2.AliasMove(
        model=move.model,
        alias=move.alias,
        kind=_MOVES[move.kind],
        from_version=move.from_version or 0,
        to_version=move.to_version or 0,
        user=move.author.user,
        reason=move.author.reason,
        time=timestamp_to_proto(move.author.at),
    )


def _signature_to_proto(signature: Signature) -> resources_pb2.Signature:
    return resources_pb2.Signature(
        inputs=[_spec_to_proto(spec) for spec in signature.inputs],
        outputs=[_spec_to_proto(spec) for spec in signature.outputs],
    )


def _spec_to_proto(spec: TensorSpec) -> resources_pb2.TensorSpec:
    return resources_pb2.TensorSpec(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def _details_to_proto(details: FormatDetails) -> resources_pb2.FormatDetails:
    match details:
        case OnnxDetails():
            onnx = resources_pb2.OnnxDetails(
                ir_version=details.ir_version,
                opsets=details.opsets,
                producer=details.producer,
                producer_version=details.producer_version,
                external_data_files=details.external_data_files,
            )
            return resources_pb2.FormatDetails(onnx=onnx)
        case SavedModelDetails():
            return resources_pb2.FormatDetails(savedmodel=_savedmodel_to_proto(details))
        case TensorrtDetails():
            tensorrt = resources_pb2.TensorrtDetails(tensorrt_version=details.tensorrt_version, gpu=details.gpu)
            return resources_pb2.FormatDetails(tensorrt=tensorrt)


def _savedmodel_to_proto(details: SavedModelDetails) -> resources_pb2.SavedModelDetails:
    return resources_pb2.SavedModelDetails(
        tensorflow_version=details.tensorflow_version,
        tags=details.tags,
        signatures={key: _signature_to_proto(signature) for key, signature in details.signatures.items()},
        served_signature=details.served_signature,
    )


def _source_to_proto(source: Source) -> resources_pb2.Source:
    return resources_pb2.Source(
        git_commit=source.git_commit,
        training_run=source.training_run,
        dataset_uri=source.dataset_uri,
        uri=source.uri,
    )


def _sample_to_proto(facts: VersionDraft) -> resources_pb2.Sample | None:
    sample = facts.sample
    if sample is None:
        return None
    return resources_pb2.Sample(sha256=sample.sha256, size_bytes=sample.size_bytes, is_made=sample.is_made)


def _origin_to_proto(origin: Origin) -> resources_pb2.Origin:
    return resources_pb2.Origin(
        model_id=origin.model_id, user=origin.user, create_time=timestamp_to_proto(origin.created_at)
    )
