from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchRoutesRequest(_message.Message):
    __slots__ = ("hello", "status")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    hello: RouterHello
    status: RouterStatus
    def __init__(self, hello: _Optional[_Union[RouterHello, _Mapping]] = ..., status: _Optional[_Union[RouterStatus, _Mapping]] = ...) -> None: ...

class RouterHello(_message.Message):
    __slots__ = ("router_id", "address", "status")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    address: str
    status: RouterStatus
    def __init__(self, router_id: _Optional[str] = ..., address: _Optional[str] = ..., status: _Optional[_Union[RouterStatus, _Mapping]] = ...) -> None: ...

class RouterStatus(_message.Message):
    __slots__ = ("applied_version", "error")
    APPLIED_VERSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    applied_version: int
    error: str
    def __init__(self, applied_version: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class WatchRoutesResponse(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: RouteTable
    def __init__(self, table: _Optional[_Union[RouteTable, _Mapping]] = ...) -> None: ...

class RouteTable(_message.Message):
    __slots__ = ("version", "pools", "routes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    version: int
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    def __init__(self, version: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ...) -> None: ...

class Pool(_message.Message):
    __slots__ = ("name", "model", "version", "endpoints", "no_retries")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    NO_RETRIES_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    version: int
    endpoints: _containers.RepeatedCompositeFieldContainer[Endpoint]
    no_retries: bool
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., endpoints: _Optional[_Iterable[_Union[Endpoint, _Mapping]]] = ..., no_retries: bool = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("replica_id", "address", "port", "weight")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    address: str
    port: int
    weight: int
    def __init__(self, replica_id: _Optional[str] = ..., address: _Optional[str] = ..., port: _Optional[int] = ..., weight: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("key", "model", "version", "pool", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: str
    model: str
    version: int
    pool: str
    reason: str
    def __init__(self, key: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., pool: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
