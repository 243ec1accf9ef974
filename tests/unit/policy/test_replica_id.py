"""The longest id of a replica that the controller makes fits wherever it goes."""

import hashlib
from dataclasses import replace

import sqlalchemy as sa

from controlplane.domain import Deployment
from controlplane.registry.sql import schema
from modelyard.resource_names import check_alias_name, check_model_name
from modelyard.v1 import agent_pb2, resources_pb2
from nodeagent.replica_spec import parse_spec
from tests.unit.policy.simulation import SimulatedNode, SimulatedYard

MODEL, ALIAS, LARGEST = check_model_name("m" * 100), check_alias_name("a" * 100), 2**63 - 1


def test_the_longest_id_fits_the_database_and_is_a_name_of_a_folder() -> None:
    yard = SimulatedYard(SimulatedNode("a"))
    yard.stored = replace(yard.stored, next_replica_number=LARGEST)
    yard.set_alias(MODEL, LARGEST, ALIAS)
    yard.deploy(Deployment(MODEL, ALIAS))
    yard.control()
    (replica,) = yard.running(MODEL)
    assert replica.replica_id == f"{MODEL}-{ALIAS}-v{LARGEST}-{LARGEST}"
    for column in (schema.replicas.c.replica_id, schema.replicas.c.takes_over):
        assert isinstance(column.type, sa.String)
        assert column.type.length
        assert len(replica.replica_id) <= column.type.length
    version = resources_pb2.Version(model=MODEL, number=LARGEST, sha256=hashlib.sha256().hexdigest())
    assert parse_spec(agent_pb2.DesiredReplica(replica_id=replica.replica_id, version=version))
