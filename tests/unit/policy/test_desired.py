"""What nodes are told to run, and that words about a version are not part of it."""

from dataclasses import replace

import pytest

from controlplane.domain import (
    Allocation,
    DesiredReplica,
    ModelFormat,
    OnnxDetails,
    Origin,
    Packaging,
    Replica,
    Sample,
    Signature,
    Source,
    TensorSpec,
    Version,
    Wish,
)
from controlplane.policy.desired import compute_desired
from controlplane.servicers.agent_converters import desired_to_proto
from controlplane.sessions.nodes import DesiredSet
from nodeagent.replica_spec import ReplicaSpec, parse_spec
from tests.unit.policy.simulation import START, SimulatedYard, make_version

SPECS = (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("y", "INT64", (2,)))
VERSION = make_version("resnet", 1)
PLAIN = replace(VERSION, facts=replace(VERSION.facts, sample=Sample("1" * 64, 10, is_made=True)))
# Larger than it may be, so that one of these would be seen in a message.
DESCRIBED = replace(
    PLAIN,
    facts=replace(
        PLAIN.facts,
        description="better" * 10_000,
        user="ann",
        metrics={"top1": 0.76},
        parameters={"lr": "0.1"},
        tags={"team": "vision"},
        details=OnnxDetails(8, {"": 17}),
        source=Source("0123abc", "run-7"),
        origin=Origin("old@3"),
    ),
    revision=7,
)


def desire(version: Version, wish: Wish = Wish.RUN) -> tuple[DesiredReplica, ...]:
    replica = Replica("r", "resnet", 1, "production", "a", Allocation((0, 1), 2, 100), wish)
    stored = replace(SimulatedYard().stored, replicas={"r": replica}, versions={("resnet", 1): version})
    return compute_desired(stored).get("a", ())


def specs_of(replicas: tuple[DesiredReplica, ...]) -> list[ReplicaSpec]:
    return [parse_spec(replica) for replica in desired_to_proto(DesiredSet(1, replicas)).replicas]


def test_words_about_a_version_are_not_sent() -> None:
    assert desire(DESCRIBED) == desire(PLAIN)
    assert desired_to_proto(DesiredSet(1, desire(DESCRIBED))).ByteSize() < 1000


@pytest.mark.parametrize("format_", list(ModelFormat))
@pytest.mark.parametrize("packaging", list(Packaging))
def test_an_agent_makes_of_it_what_it_would_of_the_whole_record(format_: ModelFormat, packaging: Packaging) -> None:
    facts = replace(DESCRIBED.facts, format=format_, packaging=packaging, signature=Signature(SPECS, SPECS))
    version = replace(DESCRIBED, facts=facts)
    whole = DesiredReplica("r", version, Allocation((0, 1), 2, 100))
    assert specs_of(desire(version)) == specs_of((whole,))


def test_what_is_to_stop_is_not_desired() -> None:
    assert desire(PLAIN, Wish.RETIRE) == desire(PLAIN)
    assert desire(PLAIN, Wish.STOP) == ()


def test_a_change_of_the_file_is_another_set() -> None:
    other = replace(PLAIN, facts=replace(PLAIN.facts, sha256="f" * 64))
    assert desire(other) != desire(PLAIN)
    assert desire(PLAIN)[0].version.created_at == START
