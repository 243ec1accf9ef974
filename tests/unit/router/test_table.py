import pytest

from modelyard.errors import InvalidArgumentError
from modelyard.v1 import routing_pb2
from router.table import Endpoint, parse_table


def _message() -> routing_pb2.RouteTable:
    message = routing_pb2.RouteTable(version=4)
    pool = message.pools.add(name="resnet/production@3", model="resnet", version=3, no_retries=True)
    pool.endpoints.add(replica_id="r1", address="10.0.0.1", port=9000, weight=2)
    message.pools.add(name="bert/production@1", model="bert", version=1)
    message.routes.add(key="resnet", model="resnet", version=3, pool="resnet/production@3")
    message.routes.add(key="bert", model="bert", version=1, pool="bert/production@1", reason="bert is loading")
    message.routes.add(key="gpt", model="gpt", reason="gpt has no room")
    return message


def test_a_table_is_taken_over() -> None:
    table = parse_table(_message())
    assert table.version == 4
    resnet, bert, gpt = table.routes
    assert resnet.pool is table.pools[0]
    assert resnet.pool.endpoints == (Endpoint("10.0.0.1", 9000, 2),)
    assert resnet.pool.no_retries
    assert (gpt.pool, gpt.reason) == (None, "gpt has no room")
    assert (bert.pool, bert.reason) == (None, "bert is loading"), "a pool without replicas answers nothing"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda m: m.pools[0].endpoints.add(address="host", port=1, weight=1), "'host' is not an IP address"),
        (lambda m: m.pools[0].endpoints.add(address="::1", port=0, weight=1), "0 is not a port"),
        (lambda m: m.pools[0].endpoints.add(address="::1", port=70000, weight=1), "70000 is not a port"),
        (lambda m: m.pools[0].endpoints.add(address="::1", port=1, replica_id="r9"), "'r9': weight 0 is less than 1"),
        (lambda m: m.pools.add(name="resnet/production@3"), "pool 'resnet/production@3' is there 2 times"),
        (lambda m: m.pools.add(), "'' cannot be the name of a pool"),
        (lambda m: m.pools.add(name="local"), "'local' cannot be the name of a pool"),
        (lambda m: m.routes.add(key="resnet"), "route 'resnet' is there 2 times"),
        (lambda m: m.routes.add(key="a b"), "'a b' cannot be the key of a route"),
        (lambda m: m.routes.add(key="ü"), "'ü' cannot be the key of a route"),
        (lambda m: m.routes.add(key="x", pool="y"), "route 'x' names a pool that is not there: 'y'"),
    ],
)
def test_what_envoy_would_refuse_is_refused_by_name(change: object, fault: str) -> None:
    message = _message()
    change(message)  # type: ignore[operator]
    with pytest.raises(InvalidArgumentError, match="route table 4 is not valid") as refused:
        parse_table(message)
    assert fault in refused.value.message
