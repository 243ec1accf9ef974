"""An agent and a router that speak the real protocol and do only what a test tells them."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from grpc import aio

from modelyard.v1 import agent_pb2, agent_pb2_grpc, resources_pb2, routing_pb2, routing_pb2_grpc

WAIT_S = 60.0


class FakePeer:
    """A stream to the controller. `ended` gives the error that ended it, once it has ended."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._changed = asyncio.Condition()
        self._writing = asyncio.Lock()
        self._reading = asyncio.create_task(self._read())
        self.ended: asyncio.Future[aio.AioRpcError | None] = asyncio.get_running_loop().create_future()

    def receive(self, response: Any) -> None:
        raise NotImplementedError

    async def _read(self) -> None:
        error = None
        try:
            async for response in self.call:
                async with self._changed:
                    self.receive(response)
                    self._changed.notify_all()
        except aio.AioRpcError as caught:
            error = caught
        if not self.ended.done():
            self.ended.set_result(error)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Until a message made `condition` true. Raises TimeoutError."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(condition)

    async def write(self, request: Any) -> None:
        """One at a time: gRPC breaks a call in which a second write begins before the first is done."""
        async with self._writing:
            await self.call.write(request)

    async def leave(self) -> None:
        self.call.cancel()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


class FakeAgent(FakePeer):
    """`desired`: the newest desired set. Reports only when it is told to."""

    def __init__(self, channel: aio.Channel) -> None:
        super().__init__(agent_pb2_grpc.AgentServiceStub(channel).Session())
        self.desired: dict[str, agent_pb2.DesiredReplica] = {}
        self.generations: list[int] = []
        self.log_requests: list[agent_pb2.LogRequest] = []
        self._observed: dict[str, agent_pb2.ObservedReplica] = {}

    @classmethod
    async def join(
        cls,
        channel: aio.Channel,
        node: str = "a",
        *,
        instance: str = "1",
        cores: int = 4,
        address: str = "127.0.0.1",
        release: str = "1",
        observed: dict[str, agent_pb2.ObservedReplica] | None = None,
    ) -> Self:
        agent = cls(channel)
        agent._observed = dict(observed or {})
        resources = resources_pb2.NodeResources(cores=range(cores), memory_bytes=64 << 30, replicas_per_core=1)
        state = agent_pb2.ObservedState(replicas=agent._observed.values())
        hello = agent_pb2.AgentHello(
            node=node, instance_id=instance, address=address, resources=resources, observed=state, release=release
        )
        await agent.call.write(agent_pb2.SessionRequest(hello=hello))
        return agent

    def receive(self, response: agent_pb2.SessionResponse) -> None:
        if response.HasField("log_request"):
            self.log_requests.append(response.log_request)
            return
        self.generations.append(response.desired.generation)
        self.desired = {replica.replica_id: replica for replica in response.desired.replicas}

    async def until_told(self) -> None:
        """Until it is told to run anything."""
        await self.until(lambda: self.desired)

    @property
    def observed(self) -> dict[str, agent_pb2.ObservedReplica]:
        return dict(self._observed)

    async def report(
        self,
        state: resources_pb2.ReplicaState = resources_pb2.REPLICA_STATE_READY,
        *,
        version: int = 0,
        message: str = "",
    ) -> None:
        """What is desired (of `version`, if given) is in `state`; what is not desired is gone."""
        kept = {name: seen for name, seen in self._observed.items() if name in self.desired}
        for number, (name, replica) in enumerate(sorted(self.desired.items())):
            if version in (0, replica.version.number):
                kept[name] = agent_pb2.ObservedReplica(
                    replica_id=name, state=state, port=30000 + number, message=message
                )
        self._observed = kept
        await self.send(self.generations[-1])

    async def send(self, generation: int) -> None:
        observed = agent_pb2.ObservedState(generation=generation, replicas=self._observed.values())
        await self.write(agent_pb2.SessionRequest(observed=observed))


class ObedientAgent(FakeAgent):
    """Reports at once that all it is told to run is ready, and the rest gone."""

    def receive(self, response: agent_pb2.SessionResponse) -> None:
        super().receive(response)
        if response.HasField("desired"):
            self._reporting = asyncio.create_task(self.report())


class FakeRouter(FakePeer):
    """`table`: the newest route table. Says that it follows one only when it is told to."""

    def __init__(self, channel: aio.Channel) -> None:
        super().__init__(routing_pb2_grpc.RoutingServiceStub(channel).WatchRoutes())
        self.table = routing_pb2.RouteTable()

    @classmethod
    async def join(
        cls, channel: aio.Channel, router_id: str = "r", *, address: str = "127.0.0.1:8001", applied: int = 0
    ) -> Self:
        router = cls(channel)
        status = routing_pb2.RouterStatus(applied_version=applied)
        hello = routing_pb2.RouterHello(router_id=router_id, address=address, status=status)
        await router.call.write(routing_pb2.WatchRoutesRequest(hello=hello))
        return router

    def receive(self, response: routing_pb2.WatchRoutesResponse) -> None:
        self.table = response.table

    async def apply(self) -> None:
        status = routing_pb2.RouterStatus(applied_version=self.table.version)
        await self.write(routing_pb2.WatchRoutesRequest(status=status))

    def route(self, key: str) -> routing_pb2.Route:
        return next((route for route in self.table.routes if route.key == key), routing_pb2.Route())

    def endpoints(self, key: str) -> list[str]:
        name = self.route(key).pool
        return [e.replica_id for pool in self.table.pools if pool.name == name for e in pool.endpoints]


class ObedientRouter(FakeRouter):
    """Follows every table at once."""

    def receive(self, response: routing_pb2.WatchRoutesResponse) -> None:
        super().receive(response)
        self._applying = asyncio.create_task(self.apply())
