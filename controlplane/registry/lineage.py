"""What every version is and where it came from, in ML Metadata. The only module that knows that library.

A version is an artifact, its model a context, its registration an execution whose output it is. The SQL database
decides; this store is told afterwards, so each record carries all that is known of the version.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ml_metadata import errors
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb

from controlplane.domain import Version
from controlplane.registry.signature_json import signature_to_json
from modelyard.errors import UnavailableError
from modelyard.resource_names import model_name, version_name

T = TypeVar("T")

_VERSION_PROPERTIES = {
    "name": pb.STRING,
    "model": pb.STRING,
    "version": pb.INT,
    "sha256": pb.STRING,
    "size_bytes": pb.INT,
    "format": pb.STRING,
    "signature": pb.STRING,  # JSON
    "description": pb.STRING,
    "user": pb.STRING,
}


def sqlite_config(path: Path) -> pb.ConnectionConfig:
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    # The library sleeps 2 s between its own tries, in a call that cannot be cancelled: the recorder tries again.
    config.retry_options.max_num_retries = 1
    return config


class MlMetadataLineage:
    """Blocking; call it from one thread at a time.

    Raises UnavailableError where the store cannot be opened; any other error comes from what it was asked.
    """

    def __init__(self, config: pb.ConnectionConfig) -> None:
        self._config = config
        self._connection: _Connection | None = None

    def has(self, version: Version) -> bool:
        return self._use(lambda connection: connection.has(version))

    def record(self, version: Version) -> None:
        """Does nothing where it is recorded already."""
        self._use(lambda connection: connection.record(version))

    def _use(self, act: Callable[["_Connection"], T]) -> T:
        try:
            return act(self._open())
        except (errors.StatusError, RuntimeError):
            # A store object whose database connection broke never works again; where a new one opens, it was not that.
            self._connection = None
            self._open()
            raise

    def _open(self) -> "_Connection":
        try:
            self._connection = self._connection or _Connection(self._config)
        except (errors.StatusError, RuntimeError) as error:
            raise UnavailableError(f"the lineage store cannot be used: {error}") from error
        return self._connection


class _Connection:
    """An open store, and the numbers of the yard's types in it."""

    def __init__(self, config: pb.ConnectionConfig) -> None:
        logging.getLogger("absl").setLevel(logging.WARNING)  # it tells of every connection
        self._store = MetadataStore(config)
        version_type = pb.ArtifactType(name="modelyard.Version", properties=_VERSION_PROPERTIES)
        model_type = pb.ContextType(name="modelyard.Model", properties={"name": pb.STRING})
        registration_type = pb.ExecutionType(name="modelyard.Registration", properties={"user": pb.STRING})
        self._version_type_id = self._store.put_artifact_type(version_type, can_add_fields=True)
        self._model_type_id = self._store.put_context_type(model_type, can_add_fields=True)
        self._registration_type_id = self._store.put_execution_type(registration_type, can_add_fields=True)

    def has(self, version: Version) -> bool:
        return self._store.get_artifact_by_type_and_name("modelyard.Version", version.model_id) is not None

    def record(self, version: Version) -> None:
        # All of it in one transaction of the store; the names are unique there, so a second time is refused.
        try:
            self._store.put_execution(
                self._registration(version),
                [(self._artifact(version), _output_event(version))],
                [self._model_context(version)],
                reuse_context_if_already_exist=True,
            )
        except errors.AlreadyExistsError:
            if not self.has(version):
                raise

    def _artifact(self, version: Version) -> pb.Artifact:
        facts = version.facts
        artifact = pb.Artifact(
            type_id=self._version_type_id, name=version.model_id, uri=facts.uri, state=pb.Artifact.LIVE
        )
        texts = {
            "name": version_name(version.model, version.number),
            "model": version.model,
            "sha256": facts.sha256,
            "format": facts.format.value,
            "signature": json.dumps(signature_to_json(facts.signature)),
            "description": facts.description,
            "user": facts.user,
        }
        for key, text in texts.items():
            artifact.properties[key].string_value = text
        artifact.properties["version"].int_value = version.number
        artifact.properties["size_bytes"].int_value = facts.size_bytes
        _set_custom_properties(artifact, version)
        return artifact

    def _model_context(self, version: Version) -> pb.Context:
        context = pb.Context(type_id=self._model_type_id, name=version.model)
        context.properties["name"].string_value = model_name(version.model)
        return context

    def _registration(self, version: Version) -> pb.Execution:
        execution = pb.Execution(
            type_id=self._registration_type_id, name=version.model_id, last_known_state=pb.Execution.COMPLETE
        )
        execution.properties["user"].string_value = version.facts.user
        return execution


def _set_custom_properties(artifact: pb.Artifact, version: Version) -> None:
    for key, number in version.facts.metrics.items():
        artifact.custom_properties[f"metric.{key}"].double_value = number
    for key, text in version.facts.parameters.items():
        artifact.custom_properties[f"parameter.{key}"].string_value = text
    for key, text in version.facts.tags.items():
        artifact.custom_properties[f"tag.{key}"].string_value = text


def _output_event(version: Version) -> pb.Event:
    # When it was registered, which may be long before it is recorded here.
    return pb.Event(type=pb.Event.OUTPUT, milliseconds_since_epoch=round(version.created_at.timestamp() * 1000))
