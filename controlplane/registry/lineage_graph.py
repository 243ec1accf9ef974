"""What a version came from and went through, free of the library that keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class NodeKind(StrEnum):
    ARTIFACT = "artifact"
    EXECUTION = "execution"
    CONTEXT = "context"


@dataclass(frozen=True)
class Node:
    """`id`: unique in its graph. `type`: ML Metadata's, such as modelyard.Version. `time`: when it happened."""

    id: str
    kind: NodeKind
    type: str
    name: str
    uri: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    time: datetime | None = None


@dataclass(frozen=True)
class Edge:
    """From a cause to what came of it: an input to its execution, that to its output, a context to what it holds."""

    from_id: str
    to_id: str


@dataclass(frozen=True)
class Graph:
    """Around one version, the node `version_id`; "", without nodes: the lineage store does not have it yet.

    `left_out`: so many of the oldest executions are not in it, for there are too many.
    """

    version_id: str = ""
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    left_out: int = 0
