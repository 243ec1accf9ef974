"""Whether the runtime that serves ONNX models has the operators of one. Pure, save for reading its own table.

The table, onnx_operators.json, is written by scripts/generate_onnx_operators.py. Types are not looked at: an operator
that runs for one type is taken for all, since refusing a model that runs is worse than letting one through that a node
refuses later.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from controlplane.registry.formats.onnx_text import to_text
from modelyard.errors import InvalidArgumentError

# The same domain twice: models may spell it out.
_SPELLED_OUT = "ai.onnx"


class _FunctionKey(NamedTuple):
    domain: str
    name: str
    overload: str


@dataclass(frozen=True)
class _Table:
    runtime: str
    highest_ir_version: int
    highest_opsets: Mapping[str, int]
    versions: Mapping[str, Mapping[str, list[int]]]
    lacking: Mapping[str, Mapping[str, list[int]]]


def refuse_missing_operators(model: Any) -> None:
    """InvalidArgumentError that names the first operator of a ModelProto that the runtime lacks, and the way out.

    Operators that the model defines itself (local functions) are looked into where they are used.
    """
    table = _load_table()
    opsets = opset_versions(model.opset_import)
    _refuse_newer(table, model.ir_version, opsets)
    functions = {_FunctionKey(_plain(f.domain), f.name, f.overload): f for f in model.functions}
    # Functions may use each other, and many nodes the same.
    seen: set[_FunctionKey] = set()
    waiting = [(model.graph.node, opsets)]
    while waiting:
        nodes, opsets = waiting.pop()
        for node in _all_nodes(nodes):
            key = _FunctionKey(_plain(node.domain), node.op_type, node.overload)
            if key not in functions:
                _refuse_missing(table, node, opsets.get(key.domain))
            elif key not in seen:
                seen.add(key)
                waiting.append((functions[key].node, opset_versions(functions[key].opset_import)))


def _refuse_newer(table: _Table, ir_version: int, opsets: Mapping[str, int]) -> None:
    if ir_version > table.highest_ir_version:
        raise InvalidArgumentError(
            f"the model has ONNX's IR version {ir_version}, and {table.runtime} reads them up to "
            f"{table.highest_ir_version}; save it with an older one: model.ir_version = {table.highest_ir_version}"
        )
    for domain, highest in table.highest_opsets.items():
        if opsets.get(domain, 0) > highest:
            raise InvalidArgumentError(
                f"the model uses opset {opsets[domain]} of {domain or _SPELLED_OUT}, and {table.runtime} has them up "
                f"to {highest}; export it with opset_version={highest} or lower"
            )


def _refuse_missing(table: _Table, node: Any, opset: int | None) -> None:
    domain, name = _plain(node.domain), node.op_type
    if opset is None:
        return  # which version is meant is not said: onnx.checker has its own word for that
    what = f"the model uses the operator {name!r} of the domain {domain or _SPELLED_OUT!r} (opset {opset})"
    if domain not in table.versions:
        raise InvalidArgumentError(
            f"{what}, which {table.runtime} does not know; export it with standard operators, or with the operator "
            "as a function in the model"
        )
    since = max((version for version in table.versions[domain].get(name, ()) if version <= opset), default=None)
    if since is None:
        raise InvalidArgumentError(f"{what}, which {table.runtime} does not have; {_way_out(table, domain, name)}")
    if since in table.lacking.get(domain, {}).get(name, ()):
        raise InvalidArgumentError(
            f"{what}, which {table.runtime} cannot run on a CPU; {_way_out(table, domain, name)}"
        )


def _way_out(table: _Table, domain: str, name: str) -> str:
    lacking = table.lacking.get(domain, {}).get(name, [])
    versions = table.versions[domain].get(name, [])
    running = [version for version in versions if version not in lacking]
    if not running:
        return "replace it by operators that ONNX Runtime has: https://onnxruntime.ai/docs/reference/operators"
    latest = running[-1]
    ends = next((version - 1 for version in versions if version > latest), None)
    return f"export it with an opset from {latest} {f'to {ends}' if ends else 'on'}, in which it has it"


def _all_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """And those in the graphs that these hold."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _all_nodes(graph.node)


def opset_versions(imports: Iterable[Any]) -> dict[str, int]:
    """By domain, of OperatorSetIdProtos; ONNX's own domain is ""."""
    return {_plain(one.domain): one.version for one in imports}


def _plain(domain: str | bytes) -> str:
    return "" if domain == _SPELLED_OUT else to_text(domain)


@cache
def _load_table() -> _Table:
    content = json.loads(Path(__file__).with_suffix(".json").read_text())
    return _Table(
        f"onnxruntime {content['onnxruntime']}",
        content["highest_ir_version"],
        content["highest_opsets"],
        content["versions"],
        content["lacking"],
    )
