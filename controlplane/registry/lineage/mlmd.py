"""ML Metadata's store, in the yard's own terms. Blocking."""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from controlplane.registry.lineage.config import LineageConfig
from controlplane.registry.lineage.kinds import TYPES, YARD
from controlplane.registry.lineage.library import ListOptions, MetadataStore, errors, pb
from controlplane.registry.lineage.messages import is_own, to_config, to_event, to_link, to_node, to_stored, to_type
from controlplane.registry.lineage.nodes import Item, Key, Link, NodeType, Stored, StoredLink
from controlplane.registry.lineage.texts import is_plain
from controlplane.registry.lineage_graph import NodeKind


class StoreError(Exception):
    """What the library said. `is_busy`: somebody else was writing; the same may succeed at once."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
        self.is_busy = isinstance(error, errors.AbortedError)


class MlmdStore:
    """An open store. After a StoreError it may be broken for good: make a new one. One thread at a time."""

    def __init__(self, config: LineageConfig) -> None:
        logging.getLogger("absl").setLevel(logging.ERROR)  # it tells of connections, and of what it raises
        self._store: Any = self._call(MetadataStore, to_config(config))
        # The types that were put, with their properties: those of an older store may differ.
        self._types: dict[NodeType, Any] = {}

    def find(self, keys: Iterable[Key]) -> dict[Key, Stored]:
        """Those of `keys` that are there."""
        found: dict[Key, Stored] = {}
        for type_, names in _by_type(keys).items():
            plain = {name for name in names if is_plain(name)}
            found.update(self._find_all(type_, f"type = '{type_.name}' AND {_name_is_in(plain)}") if plain else {})
            found.update(self._find_each(type_, names - plain))
        return found

    def find_in_context(self, keys: Iterable[Key], context: NodeType) -> set[Key]:
        """Those of `keys`, of executions with plain names, that are there and belong to a context of that type."""
        found: set[Key] = set()
        for type_, names in _by_type(keys).items():
            within = f"contexts_0.type = '{context.name}'"
            found.update(self._find_all(type_, f"type = '{type_.name}' AND {_name_is_in(names)} AND {within}"))
        return found

    def find_by_text(self, type_: NodeType, name: str, texts: Collection[str], also: str) -> list[Stored]:
        """Those with one of the plain `texts` in the property `name`, and for which the filter `also` holds."""
        among = ", ".join(f"'{text}'" for text in sorted(texts))
        query = f"type = '{type_.name}' AND properties.{name}.string_value IN ({among}) AND {also}"
        return list(self._find_all(type_, query).values())

    def put_graph(self, items: Sequence[Item], links: Iterable[Link], ids: Mapping[Key, int]) -> dict[Key, int]:
        """New artifacts and executions, and links among them and those in `ids`; all of it or nothing."""
        artifacts, executions = (
            [item for item in items if item.key.type.kind is kind] for kind in (NodeKind.ARTIFACT, NodeKind.EXECUTION)
        )
        places = {item.key: place for side in (artifacts, executions) for place, item in enumerate(side)}
        edges = [(places.get(link.execution), places.get(link.artifact), to_event(link, ids)) for link in links]
        messages = ([self._to_node(item) for item in side] for side in (executions, artifacts))
        executions_ids, artifact_ids, _ = self._call(self._store.put_lineage_subgraph, *messages, [], edges)
        return dict(
            zip((item.key for item in (*executions, *artifacts)), (*executions_ids, *artifact_ids), strict=True)
        )

    def put_contexts(self, items: Sequence[Item]) -> dict[Key, int]:
        ids = self._call(self._store.put_contexts, [self._to_node(item) for item in items]) if items else []
        return dict(zip((item.key for item in items), ids, strict=True))

    def update_artifacts(self, changed: Sequence[tuple[Stored, Item]]) -> None:
        """Makes each stored artifact what its item says, save for what others have added to it."""
        messages, paths = [], {"uri", "state"}
        for stored, item in changed:
            message = self._to_node(item)
            message.id = stored.id
            messages.append(message)
            keys = {*stored.item.custom, *message.custom_properties}
            paths.update(f"custom_properties.{key}" for key in keys if is_own(key))
            paths.update(f"properties.{name}" for name in TYPES[item.key.type])
        if messages:
            self._call(self._store.put_artifacts, messages, sorted(paths))

    def update_executions(self, changed: Sequence[tuple[Stored, Item]]) -> None:
        """Gives each stored execution the properties and the state of its item."""
        messages, paths = [], {"last_known_state"}
        for stored, item in changed:
            message = self._to_node(item)
            message.id = stored.id
            messages.append(message)
            paths.update(f"properties.{name}" for name in TYPES[item.key.type])
            paths.update(f"custom_properties.{key}" for key in message.custom_properties)
        if messages:
            self._call(self._store.put_executions, messages, sorted(paths))

    def complete(self, executions: Collection[Stored]) -> None:
        if executions:
            messages = [
                pb.Execution(
                    id=stored.id,
                    type_id=self._type(stored.item.key.type).id,
                    last_known_state=pb.Execution.COMPLETE,
                )
                for stored in executions
            ]
            self._call(self._store.put_executions, messages, ["last_known_state"])

    def associate(self, executions: Collection[tuple[int, int]], artifacts: Collection[tuple[int, int]]) -> None:
        """(context, execution) and (context, artifact), by their ids; one that is there stays as it is."""
        associations = [pb.Association(context_id=context, execution_id=id_) for context, id_ in sorted(executions)]
        attributions = [pb.Attribution(context_id=context, artifact_id=id_) for context, id_ in sorted(artifacts)]
        self._call(self._store.put_attributions_and_associations, attributions, associations)

    def touch(self, now: datetime) -> None:
        """Writes something, to find out whether the store takes anything at all."""
        item = Item(Key(YARD, "yard"), {"touched_at": now.isoformat()})
        message = self._to_node(item)
        if stored := self.find([item.key]):
            message.id = stored[item.key].id
        self._call(self._store.put_contexts, [message])

    def get(self, kind: NodeKind, ids: Collection[int]) -> list[Stored]:
        found = self._call(getattr(self._store, f"get_{kind}s_by_id"), sorted(ids)) if ids else []
        return [to_stored(kind, message) for message in found]

    def links_of_artifact(self, id_: int) -> list[StoredLink]:
        return [to_link(event) for event in self._call(self._store.get_events_by_artifact_ids, [id_])]

    def links_of_executions(self, ids: Collection[int]) -> list[StoredLink]:
        found = self._call(self._store.get_events_by_execution_ids, sorted(ids)) if ids else []
        return [to_link(event) for event in found]

    def contexts_of(self, kind: NodeKind, id_: int) -> list[Stored]:
        def list_contexts(id_: int) -> Any:
            try:
                return getattr(self._store, f"get_contexts_by_{kind}")(id_)
            except errors.NotFoundError:  # its answer for an execution that is in none
                return []

        found = self._call(list_contexts, id_)
        return [to_stored(NodeKind.CONTEXT, message) for message in found]

    def _find_all(self, type_: NodeType, query: str) -> dict[Key, Stored]:
        find = getattr(self._store, f"get_{type_.kind}s")
        found = (to_stored(type_.kind, message) for message in self._call(find, ListOptions(filter_query=query)))
        return {stored.item.key: stored for stored in found}

    def _find_each(self, type_: NodeType, names: Iterable[str]) -> Iterator[tuple[Key, Stored]]:
        find = getattr(self._store, f"get_{type_.kind}_by_type_and_name")
        for name in names:
            message = self._call(find, type_.name, name)
            if message is not None:
                yield Key(type_, name), to_stored(type_.kind, message)

    def _to_node(self, item: Item) -> Any:
        return to_node(item, self._type(item.key.type))

    def _type(self, type_: NodeType) -> Any:
        if not self._types:
            self._put_types()
        return self._types[type_]

    def _put_types(self) -> None:
        stored = {
            NodeType(kind, message.name): message
            for kind in NodeKind
            for message in self._call(getattr(self._store, f"get_{kind}_types"))
        }
        for type_, declared in TYPES.items():
            message = to_type(type_, declared)
            # What a store has is never another type later, and never gone: the library refuses that.
            message.properties.update(stored[type_].properties if type_ in stored else {})
            message.id = self._call(getattr(self._store, f"put_{type_.kind}_type"), message, can_add_fields=True)
            self._types[type_] = message

    @staticmethod
    def _call(act: Any, *args: Any, **options: Any) -> Any:
        try:
            return act(*args, **options)
        except (errors.StatusError, RuntimeError) as error:
            raise StoreError(error) from error


def _by_type(keys: Iterable[Key]) -> Mapping[NodeType, set[str]]:
    names: dict[NodeType, set[str]] = defaultdict(set)
    for key in keys:
        names[key.type].add(key.name)
    return names


def _name_is_in(names: Iterable[str]) -> str:
    return "name IN ({})".format(", ".join(f"'{name}'" for name in sorted(names)))
