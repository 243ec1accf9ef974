from modelyard.v1 import resources_pb2 as _resources_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionRequest(_message.Message):
    __slots__ = ("hello", "observed")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    hello: AgentHello
    observed: ObservedState
    def __init__(self, hello: _Optional[_Union[AgentHello, _Mapping]] = ..., observed: _Optional[_Union[ObservedState, _Mapping]] = ...) -> None: ...

class AgentHello(_message.Message):
    __slots__ = ("node", "instance_id", "address", "resources", "observed")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    node: str
    instance_id: str
    address: str
    resources: _resources_pb2.NodeResources
    observed: ObservedState
    def __init__(self, node: _Optional[str] = ..., instance_id: _Optional[str] = ..., address: _Optional[str] = ..., resources: _Optional[_Union[_resources_pb2.NodeResources, _Mapping]] = ..., observed: _Optional[_Union[ObservedState, _Mapping]] = ...) -> None: ...

class ObservedState(_message.Message):
    __slots__ = ("generation", "replicas")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    replicas: _containers.RepeatedCompositeFieldContainer[ObservedReplica]
    def __init__(self, generation: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ObservedReplica, _Mapping]]] = ...) -> None: ...

class ObservedReplica(_message.Message):
    __slots__ = ("replica_id", "model", "version", "state", "port", "restarts", "pid", "message")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    model: str
    version: int
    state: _resources_pb2.ReplicaState
    port: int
    restarts: int
    pid: int
    message: str
    def __init__(self, replica_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[_resources_pb2.ReplicaState, str]] = ..., port: _Optional[int] = ..., restarts: _Optional[int] = ..., pid: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("desired",)
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    desired: DesiredState
    def __init__(self, desired: _Optional[_Union[DesiredState, _Mapping]] = ...) -> None: ...

class DesiredState(_message.Message):
    __slots__ = ("generation", "replicas")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    replicas: _containers.RepeatedCompositeFieldContainer[DesiredReplica]
    def __init__(self, generation: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[DesiredReplica, _Mapping]]] = ...) -> None: ...

class DesiredReplica(_message.Message):
    __slots__ = ("replica_id", "version", "allocation")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    version: _resources_pb2.Version
    allocation: _resources_pb2.Allocation
    def __init__(self, replica_id: _Optional[str] = ..., version: _Optional[_Union[_resources_pb2.Version, _Mapping]] = ..., allocation: _Optional[_Union[_resources_pb2.Allocation, _Mapping]] = ...) -> None: ...
