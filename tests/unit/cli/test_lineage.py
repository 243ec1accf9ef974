"""The tree of a version's lineage."""

from collections.abc import Sequence
from typing import Any

from modelyard.cli.lineage import draw, make_tree
from modelyard.v1.registry_pb2 import GetLineageResponse

Node = GetLineageResponse.Node


def _answer(nodes: Sequence[tuple[str, Any, str, str]], edges: list[str]) -> Any:
    """Nodes as (id, kind, type, name), edges as "from to"."""
    answer = GetLineageResponse(version_id="v")
    for number, (node_id, kind, type_, name) in enumerate(nodes):
        node = answer.nodes.add(id=node_id, kind=kind, type=type_, name=name)
        node.time.FromNanoseconds(number)
    for edge in edges:
        answer.edges.add(from_id=edge.split()[0], to_id=edge.split()[1])
    return answer


def test_causes_effects_and_contexts_stand_apart() -> None:
    answer = _answer(
        [
            ("data", Node.ARTIFACT, "modelyard.Dataset", "s3://data"),
            ("run", Node.EXECUTION, "modelyard.TrainingRun", "run-7"),
            ("v", Node.ARTIFACT, "modelyard.Version", "resnet@3"),
            ("m", Node.CONTEXT, "modelyard.Model", "resnet"),
            ("deploy", Node.EXECUTION, "modelyard.Deployment", "resnet@production"),
            ("bench", Node.EXECUTION, "modelyard.Benchmark", "b-1"),
            ("report", Node.ARTIFACT, "modelyard.Report", "r-1"),
        ],
        ["data run", "run v", "m v", "m run", "v deploy", "v bench", "bench report"],
    )
    answer.nodes[4].properties["alias"] = "production"
    assert list(draw(make_tree(answer))) == [
        "Version  resnet@3",
        "├─ came from",
        "│  └─ TrainingRun  run-7",
        "│     └─ Dataset  s3://data",
        "├─ belongs to",
        "│  └─ Model  resnet",
        "└─ went through",
        "   ├─ Deployment  resnet@production  alias=production",
        "   └─ Benchmark  b-1",
        "      └─ Report  r-1",
    ]


def test_what_can_be_reached_twice_or_in_a_circle_is_told_of_once() -> None:
    answer = _answer(
        [(name, Node.EXECUTION, "T", name) for name in ("a", "b", "c")] + [("v", Node.ARTIFACT, "T", "v")],
        ["a b", "a c", "b v", "c v", "v a"],
    )
    lines = list(draw(make_tree(answer)))
    came = lines[1 : next(n for n, line in enumerate(lines) if "went through" in line)]
    assert [sum(line.endswith(f"T  {name}") for line in came) for name in "abc"] == [1, 1, 1]


def test_nothing_recorded_yet_is_said() -> None:
    assert list(draw(make_tree(GetLineageResponse(pending=3)))) == ["nothing is recorded yet"]
