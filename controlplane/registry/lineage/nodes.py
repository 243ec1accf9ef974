"""Nodes and events as ML Metadata has them, free of that library's own classes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from controlplane.registry.lineage_graph import NodeKind

Value = str | int | float


class NodeType(NamedTuple):
    kind: NodeKind
    name: str


class Key(NamedTuple):
    """What no two nodes share. `name`: as made by `texts.keepable_name`."""

    type: NodeType
    name: str


@dataclass(frozen=True)
class Item:
    """`properties`: those that its type declares. `state`: a name of the library's, "" for contexts."""

    key: Key
    properties: Mapping[str, Value] = field(default_factory=dict)
    custom: Mapping[str, Value] = field(default_factory=dict)
    uri: str = ""
    state: str = ""


@dataclass(frozen=True)
class Stored:
    id: int
    item: Item


@dataclass(frozen=True)
class Link:
    """An event: what an execution took, or made. It is written together with the new node `comes_with`."""

    artifact: Key
    execution: Key
    is_output: bool
    at: datetime
    comes_with: Key


@dataclass(frozen=True)
class StoredLink:
    artifact_id: int
    execution_id: int
    is_output: bool
    at: datetime
