"""The yard's own terms as ML Metadata's messages, and back."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue

from controlplane.registry.lineage.config import LineageConfig, SqliteFile
from controlplane.registry.lineage.library import pb
from controlplane.registry.lineage.nodes import Item, Key, Link, NodeType, Stored, StoredLink, Value
from controlplane.registry.lineage.texts import keepable
from controlplane.registry.lineage_graph import NodeKind

# Of the library's values; int first, for a bool is one.
_FIELDS: Mapping[Any, str] = {pb.INT: "int_value", pb.DOUBLE: "double_value", pb.STRING: "string_value"}
_PROPERTY_TYPES: Mapping[type[Value], Any] = {int: pb.INT, float: pb.DOUBLE, str: pb.STRING}
# What is before the name of a property that could not keep the whole of its text.
WHOLE = "whole."
_OWN_PREFIXES = ("metric.", "parameter.", "tag.", WHOLE)

_NODES = {NodeKind.ARTIFACT: pb.Artifact, NodeKind.EXECUTION: pb.Execution, NodeKind.CONTEXT: pb.Context}
_TYPES = {NodeKind.ARTIFACT: pb.ArtifactType, NodeKind.EXECUTION: pb.ExecutionType, NodeKind.CONTEXT: pb.ContextType}


def to_node(item: Item, type_: Any) -> Any:
    """`type_`: its type's message, as the store has it."""
    message = _NODES[item.key.type.kind](type_id=type_.id, name=item.key.name)
    for name, value in item.properties.items():
        _set_value(message.properties[name], type_.properties[name], value)
    for key, value in item.custom.items():
        _set_value(message.custom_properties[keepable(key)], _PROPERTY_TYPES[type(value)], value)
    _set_state_and_uri(message, item)
    for name, value in {**item.properties, **item.custom, "uri": item.uri}.items():
        if isinstance(value, str) and keepable(value) != value:
            message.custom_properties[keepable(WHOLE + name)].proto_value.Pack(StringValue(value=value))
    return message


def to_type(type_: NodeType, declared: Mapping[str, type[Value]]) -> Any:
    return _TYPES[type_.kind](name=type_.name, properties={name: _PROPERTY_TYPES[of] for name, of in declared.items()})


def to_config(config: LineageConfig) -> Any:
    message = pb.ConnectionConfig()
    # The library sleeps 2 s between its own tries, in a call that cannot be cancelled: the recorder tries again.
    message.retry_options.max_num_retries = 1
    if isinstance(config, SqliteFile):
        message.sqlite.filename_uri = str(config.path)
        message.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return message
    # Each is put into libpq's connection string as it is given, so it is quoted, and one can bring others along.
    given = {key: _quote(value) for key, value in config.parameters.items()}
    postgresql = message.postgresql
    for key in {"host", "hostaddr", "port", "user", "password", "passfile"} & given.keys():
        setattr(postgresql, key, given.pop(key))
    postgresql.dbname = " ".join([given.pop("dbname"), *(f"{key}={value}" for key, value in given.items())])
    postgresql.skip_db_creation = True
    return message


def _quote(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'"


def _set_value(field: Any, declared: Any, value: Value) -> None:
    converted = keepable(value) if isinstance(value, str) else int(value) if declared == pb.INT else float(value)
    setattr(field, _FIELDS[declared], converted)


def _set_state_and_uri(message: Any, item: Item) -> None:
    kind = item.key.type.kind
    if kind is NodeKind.ARTIFACT:
        message.uri, message.state = keepable(item.uri), pb.Artifact.State.Value(item.state)
    elif kind is NodeKind.EXECUTION:
        message.last_known_state = pb.Execution.State.Value(item.state)


def is_own(key: str) -> bool:
    """Of a custom property: whether the yard writes it."""
    return key.startswith(_OWN_PREFIXES)


def to_event(link: Link, ids: Mapping[Key, int]) -> Any:
    # When it happened, which may be long before it is recorded.
    event = pb.Event(
        type=pb.Event.OUTPUT if link.is_output else pb.Event.INPUT,
        milliseconds_since_epoch=round(link.at.timestamp() * 1000),
    )
    if link.artifact in ids:
        event.artifact_id = ids[link.artifact]
    if link.execution in ids:
        event.execution_id = ids[link.execution]
    return event


def to_link(event: Any) -> StoredLink:
    at = datetime.fromtimestamp(event.milliseconds_since_epoch / 1000, UTC)
    is_output = event.type in (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT, pb.Event.INTERNAL_OUTPUT)
    return StoredLink(event.artifact_id, event.execution_id, is_output, at)


def to_stored(kind: NodeKind, message: Any) -> Stored:
    properties, custom = _from_values(message.properties), _from_values(message.custom_properties)
    state, uri = "", ""
    if kind is NodeKind.ARTIFACT:
        state, uri = pb.Artifact.State.Name(message.state), message.uri
    elif kind is NodeKind.EXECUTION:
        state = pb.Execution.State.Name(message.last_known_state)
    return Stored(message.id, Item(Key(NodeType(kind, message.type), message.name), properties, custom, uri, state))


def _from_values(values: Mapping[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in values.items():
        which = value.WhichOneof("value")
        if which == "proto_value":
            whole = StringValue()
            found[key] = whole.value if value.proto_value.Unpack(whole) else str(value.proto_value)
        elif which is not None:
            content = getattr(value, which)
            found[key] = content if isinstance(content, Value) else str(content)
    return found
