from google.protobuf import field_mask_pb2 as _field_mask_pb2
from modelyard.v1 import resources_pb2 as _resources_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpdateDeploymentRequest(_message.Message):
    __slots__ = ("deployment", "update_mask", "allow_missing", "user", "reason")
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    deployment: _resources_pb2.Deployment
    update_mask: _field_mask_pb2.FieldMask
    allow_missing: bool
    user: str
    reason: str
    def __init__(self, deployment: _Optional[_Union[_resources_pb2.Deployment, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., allow_missing: bool = ..., user: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class UpdateDeploymentResponse(_message.Message):
    __slots__ = ("deployment",)
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    deployment: _resources_pb2.Deployment
    def __init__(self, deployment: _Optional[_Union[_resources_pb2.Deployment, _Mapping]] = ...) -> None: ...

class GetDeploymentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetDeploymentResponse(_message.Message):
    __slots__ = ("deployment",)
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    deployment: _resources_pb2.Deployment
    def __init__(self, deployment: _Optional[_Union[_resources_pb2.Deployment, _Mapping]] = ...) -> None: ...

class ListDeploymentsRequest(_message.Message):
    __slots__ = ("parent",)
    PARENT_FIELD_NUMBER: _ClassVar[int]
    parent: str
    def __init__(self, parent: _Optional[str] = ...) -> None: ...

class ListDeploymentsResponse(_message.Message):
    __slots__ = ("deployments",)
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    deployments: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Deployment]
    def __init__(self, deployments: _Optional[_Iterable[_Union[_resources_pb2.Deployment, _Mapping]]] = ...) -> None: ...

class DeleteDeploymentRequest(_message.Message):
    __slots__ = ("name", "user", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    user: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., user: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeleteDeploymentResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Node]
    def __init__(self, nodes: _Optional[_Iterable[_Union[_resources_pb2.Node, _Mapping]]] = ...) -> None: ...

class ListReplicasRequest(_message.Message):
    __slots__ = ("parent",)
    PARENT_FIELD_NUMBER: _ClassVar[int]
    parent: str
    def __init__(self, parent: _Optional[str] = ...) -> None: ...

class ListReplicasResponse(_message.Message):
    __slots__ = ("replicas",)
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Replica]
    def __init__(self, replicas: _Optional[_Iterable[_Union[_resources_pb2.Replica, _Mapping]]] = ...) -> None: ...

class UpdateNodeSchedulingRequest(_message.Message):
    __slots__ = ("name", "state", "user", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: _resources_pb2.NodeScheduling.State
    user: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[_resources_pb2.NodeScheduling.State, str]] = ..., user: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class UpdateNodeSchedulingResponse(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: _resources_pb2.Node
    def __init__(self, node: _Optional[_Union[_resources_pb2.Node, _Mapping]] = ...) -> None: ...

class ReadReplicaLogRequest(_message.Message):
    __slots__ = ("name", "tail_lines", "follow", "previous")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAIL_LINES_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    tail_lines: int
    follow: bool
    previous: bool
    def __init__(self, name: _Optional[str] = ..., tail_lines: _Optional[int] = ..., follow: bool = ..., previous: bool = ...) -> None: ...

class ReadReplicaLogResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("route_table_version", "routers", "nodes", "deployments", "replicas")
    class Router(_message.Message):
        __slots__ = ("router_id", "address", "connected", "applied_version", "error")
        ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
        ADDRESS_FIELD_NUMBER: _ClassVar[int]
        CONNECTED_FIELD_NUMBER: _ClassVar[int]
        APPLIED_VERSION_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        router_id: str
        address: str
        connected: bool
        applied_version: int
        error: str
        def __init__(self, router_id: _Optional[str] = ..., address: _Optional[str] = ..., connected: bool = ..., applied_version: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...
    ROUTE_TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROUTERS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    route_table_version: int
    routers: _containers.RepeatedCompositeFieldContainer[GetStatusResponse.Router]
    nodes: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Node]
    deployments: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Deployment]
    replicas: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Replica]
    def __init__(self, route_table_version: _Optional[int] = ..., routers: _Optional[_Iterable[_Union[GetStatusResponse.Router, _Mapping]]] = ..., nodes: _Optional[_Iterable[_Union[_resources_pb2.Node, _Mapping]]] = ..., deployments: _Optional[_Iterable[_Union[_resources_pb2.Deployment, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[_resources_pb2.Replica, _Mapping]]] = ...) -> None: ...
