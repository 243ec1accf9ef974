"""`modelyard lineage`: what a version came from, and what it went through, as a tree."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer

from modelyard.cli import options, output
from modelyard.cli.controller import Controller
from modelyard.resource_names import parse_model_id, version_name

_USUAL_STATES = ("", "LIVE", "COMPLETE")
_EXECUTION_PROPERTIES = (
    "alias", "kind", "from_version", "replicas", "threads", "gpu_percent", "gpu_memory_bytes", "runtime",
    "max_batch_rows", "max_batch_wait_us", "revision", "changes", "git_commit", "user", "reason",
)  # fmt: skip

_ORIGIN_PROPERTIES = ("imported_from", "read_from")


@dataclass
class Branch:
    """One line of the tree and what stands below it."""

    text: str
    branches: list[Branch] = field(default_factory=list)


def lineage(
    version: options.VersionArgument,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Show where a version came from, and what it went through.

    As the lineage store has it, in which ML Metadata's own client can read it, too.
    """
    from modelyard.v1 import registry_pb2

    request = registry_pb2.GetLineageRequest(name=version_name(*parse_model_id(version)))
    with Controller(controller) as yard:
        found = yard.registry.GetLineage(request)
    if as_json:
        output.print_json(output.to_plain(found))
        return
    for line in draw(make_tree(found)):
        typer.echo(line)
    if found.left_out:
        sys.stderr.write(f"{found.left_out} older executions are left out\n")
    if found.pending:
        facts = "1 thing" if found.pending == 1 else f"{found.pending} things"
        sys.stderr.write(f"{facts} that happened to {version} will be recorded soon: ask again\n")


def make_tree(found: Any) -> Branch:
    """The version, with what caused it, what it belongs to, and what came of it; each thing is told of once in each."""
    return _Tree(found).make()


def draw(branch: Branch, indent: str = "") -> Iterator[str]:
    """A line for each thing, in characters that any terminal and log has room for."""
    if not indent:
        yield branch.text
    for below in branch.branches:
        is_last = below is branch.branches[-1]
        yield f"{indent}{'└─ ' if is_last else '├─ '}{below.text}"
        yield from draw(below, indent + ("   " if is_last else "│  "))


class _Tree:
    def __init__(self, found: Any) -> None:
        from modelyard.v1.registry_pb2 import GetLineageResponse

        self._context, self._execution = GetLineageResponse.Node.CONTEXT, GetLineageResponse.Node.EXECUTION
        self._root = found.version_id
        self._nodes = {node.id: node for node in found.nodes}
        self._causes: dict[str, list[str]] = {node_id: [] for node_id in self._nodes}
        self._effects: dict[str, list[str]] = {node_id: [] for node_id in self._nodes}
        for edge in found.edges:
            self._causes[edge.to_id].append(edge.from_id)
            self._effects[edge.from_id].append(edge.to_id)

    def make(self) -> Branch:
        if self._root not in self._nodes:
            return Branch("nothing is recorded yet")
        contexts = [cause for cause in self._causes[self._root] if self._is_context(cause)]
        groups = [
            Branch("came from", self._follow(self._causes, self._root, {self._root})),
            Branch("belongs to", [Branch(self._text(node)) for node in self._sorted(contexts)]),
            Branch("went through", self._follow(self._effects, self._root, {self._root})),
        ]
        return Branch(self._text(self._root), [group for group in groups if group.branches])

    def _follow(self, links: dict[str, list[str]], node: str, seen: set[str]) -> list[Branch]:
        branches = []
        for near in self._sorted(links[node]):
            if not self._is_context(near) and near not in seen:
                seen.add(near)
                branches.append(Branch(self._text(near), self._follow(links, near, seen)))
        return branches

    def _is_context(self, node: str) -> bool:
        return bool(self._nodes[node].kind == self._context)

    def _sorted(self, nodes: Sequence[str]) -> list[str]:
        """In the order in which they happened."""
        return sorted(set(nodes), key=lambda node: (self._nodes[node].time.ToNanoseconds(), node))

    def _text(self, node_id: str) -> str:
        """As in "AliasMove  2026-03-01 14:30:00  alias=production  kind=rollback  user=ann"; --json has all of it."""
        node = self._nodes[node_id]
        is_execution = node.kind == self._execution
        # What the yard does is named by version and time, which stand here anyway.
        name = "" if is_execution and node.properties["time"] else node.name or node.uri
        shown = _EXECUTION_PROPERTIES if is_execution else _ORIGIN_PROPERTIES
        properties = [f"{key}={node.properties[key]}" for key in shown if node.properties[key]]
        state = node.properties["state"]
        return "  ".join(
            filter(
                None,
                [
                    node.type.removeprefix("modelyard."),
                    name,
                    "" if state in _USUAL_STATES else state,
                    output.format_time(node.time) if node.time.seconds and not self._is_context(node_id) else "",
                    *properties,
                ],
            )
        )
