"""The part of the lineage store that is around one version."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain

from controlplane.registry.lineage.kinds import MODEL, VERSION
from controlplane.registry.lineage.messages import WHOLE
from controlplane.registry.lineage.mlmd import MlmdStore
from controlplane.registry.lineage.nodes import Key, Stored, StoredLink
from controlplane.registry.lineage_graph import Edge, Graph, Node, NodeKind
from controlplane.registry.page_bytes import count_bytes, cut_page
from modelyard.resource_names import model_id

# The answer must fit into one message, and a version's aliases may have been moved for years.
MOST_EXECUTIONS = 1_000
# Whatever a person says of a version is whole.
_LONGEST_VALUE = 20_000
# What changed may be megabytes, as the store has it.
_READ_AT_ONCE = 20


def read_graph(store: MlmdStore, model: str, number: int, most_executions: int = MOST_EXECUTIONS) -> Graph:
    """What the version came from, and what it went through; of the latter the newest, where there is more."""
    key = Key(VERSION, model_id(model, number))
    version = store.find([key]).get(key)
    if version is None:
        return Graph()
    links = sorted(store.links_of_artifact(version.id), key=lambda link: (not link.is_output, -link.at.timestamp()))
    born = min((link.at for link in links if link.is_output), default=None)
    (root, *executions), _ = cut_page(
        chain([_to_node(version, born)], _read_executions(store, links)), 1 + most_executions, count_bytes
    )
    links, left_out = links[: len(executions)], len(links) - len(executions)
    execution_ids = {link.execution_id for link in links}
    links = [*links, *_links_beyond(store, links, version)]
    others = store.get(NodeKind.ARTIFACT, {link.artifact_id for link in links} - {version.id})
    contexts, context_edges = _read_contexts(store, version, execution_ids)
    nodes = [
        root,
        *sorted({node.id: node for node in executions}.values(), key=_by_time),
        *(_to_node(stored, None) for stored in (*others, *contexts)),
    ]
    edges = (*(_to_edge(link) for link in links), *context_edges)
    return Graph(root.id, tuple(nodes), tuple(dict.fromkeys(edges)), left_out)


def _read_executions(store: MlmdStore, links: Sequence[StoredLink]) -> Iterator[Node]:
    """That of each link, in their order."""
    for first in range(0, len(links), _READ_AT_ONCE):
        times = {link.execution_id: link.at for link in links[first : first + _READ_AT_ONCE]}
        executions = {stored.id: stored for stored in store.get(NodeKind.EXECUTION, times.keys())}
        yield from (_to_node(executions[id_], at) for id_, at in times.items())


def _links_beyond(store: MlmdStore, links: Iterable[StoredLink], version: Stored) -> list[StoredLink]:
    """What the executions that made the version took, and what those that took it made: no sisters of it."""
    is_maker = {link.execution_id: link.is_output for link in links}
    beyond = store.links_of_executions(is_maker.keys())
    return [
        link for link in beyond if link.artifact_id != version.id and link.is_output is not is_maker[link.execution_id]
    ]


def _read_contexts(
    store: MlmdStore, version: Stored, execution_ids: Collection[int]
) -> tuple[Collection[Stored], list[Edge]]:
    """The model, which has the version, and each other context, which has some of the executions."""
    contexts, edges = {}, []
    for context in store.contexts_of(NodeKind.ARTIFACT, version.id):
        if context.item.key.type == MODEL:
            contexts[context.id] = context
            edges.append(Edge(_node_id(NodeKind.CONTEXT, context.id), _node_id(NodeKind.ARTIFACT, version.id)))
    for id_ in execution_ids:
        for context in store.contexts_of(NodeKind.EXECUTION, id_):
            if context.item.key.type != MODEL:
                contexts[context.id] = context
                edges.append(Edge(_node_id(NodeKind.CONTEXT, context.id), _node_id(NodeKind.EXECUTION, id_)))
    return contexts.values(), edges


def _node_id(kind: NodeKind, id_: int) -> str:
    return f"{kind}/{id_}"


def _to_node(stored: Stored, time: datetime | None) -> Node:
    item = stored.item
    type_, name = item.key
    state = {"state": item.state} if item.state not in ("", "UNKNOWN") else {}
    properties = {**_to_texts({**item.properties, **item.custom}), **state}
    return Node(_node_id(type_.kind, stored.id), type_.kind, type_.name, name, item.uri, properties, time)


def _to_texts(values: Mapping[str, object]) -> dict[str, str]:
    """A value that could not be kept as it was stands for itself again, long ones as far as there is room."""
    texts = {key: _to_text(value) for key, value in values.items()}
    return {key: _shorten(texts.get(WHOLE + key, text)) for key, text in texts.items() if not key.startswith(WHOLE)}


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"


def _to_text(value: object) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _to_edge(link: StoredLink) -> Edge:
    artifact, execution = _node_id(NodeKind.ARTIFACT, link.artifact_id), _node_id(NodeKind.EXECUTION, link.execution_id)
    return Edge(execution, artifact) if link.is_output else Edge(artifact, execution)


def _by_time(node: Node) -> tuple[datetime, str]:
    assert node.time is not None, "an execution is here by an event, which has a time"
    return node.time, node.id
