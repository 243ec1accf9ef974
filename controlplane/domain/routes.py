"""What clients may name, and who answers."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class RouterView:
    """A router, as it described itself last."""

    router_id: str
    address: str
    applied_version: int
    connected: bool
    last_seen: datetime
    error: str = ""


@dataclass(frozen=True)
class Endpoint:
    replica_id: str
    address: str
    port: int
    weight: int = 1


@dataclass(frozen=True)
class Pool:
    name: str
    model: str
    version: int
    endpoints: tuple[Endpoint, ...]
    no_retries: bool = False


@dataclass(frozen=True)
class Route:
    key: str
    model: str
    version: int
    pool: str
    reason: str = ""


@dataclass(frozen=True)
class RouteTable:
    version: int = 0
    pools: tuple[Pool, ...] = ()
    routes: tuple[Route, ...] = ()
