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
    __slots__ = ("node", "instance_id", "address", "resources", "observed", "release")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    node: str
    instance_id: str
    address: str
    resources: _resources_pb2.NodeResources
    observed: ObservedState
    release: str
    def __init__(self, node: _Optional[str] = ..., instance_id: _Optional[str] = ..., address: _Optional[str] = ..., resources: _Optional[_Union[_resources_pb2.NodeResources, _Mapping]] = ..., observed: _Optional[_Union[ObservedState, _Mapping]] = ..., release: _Optional[str] = ...) -> None: ...

class ObservedState(_message.Message):
    __slots__ = ("generation", "replicas", "gpus")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    replicas: _containers.RepeatedCompositeFieldContainer[ObservedReplica]
    gpus: _containers.RepeatedCompositeFieldContainer[_resources_pb2.GpuCondition]
    def __init__(self, generation: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[ObservedReplica, _Mapping]]] = ..., gpus: _Optional[_Iterable[_Union[_resources_pb2.GpuCondition, _Mapping]]] = ...) -> None: ...

class ObservedReplica(_message.Message):
    __slots__ = ("replica_id", "model", "version", "state", "port", "restarts", "pid", "message", "runtime", "memory_used_bytes", "metrics_port", "start_times")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    METRICS_PORT_FIELD_NUMBER: _ClassVar[int]
    START_TIMES_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    model: str
    version: int
    state: _resources_pb2.ReplicaState
    port: int
    restarts: int
    pid: int
    message: str
    runtime: str
    memory_used_bytes: int
    metrics_port: int
    start_times: _resources_pb2.StartTimes
    def __init__(self, replica_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[_resources_pb2.ReplicaState, str]] = ..., port: _Optional[int] = ..., restarts: _Optional[int] = ..., pid: _Optional[int] = ..., message: _Optional[str] = ..., runtime: _Optional[str] = ..., memory_used_bytes: _Optional[int] = ..., metrics_port: _Optional[int] = ..., start_times: _Optional[_Union[_resources_pb2.StartTimes, _Mapping]] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("desired", "log_request")
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    LOG_REQUEST_FIELD_NUMBER: _ClassVar[int]
    desired: DesiredState
    log_request: LogRequest
    def __init__(self, desired: _Optional[_Union[DesiredState, _Mapping]] = ..., log_request: _Optional[_Union[LogRequest, _Mapping]] = ...) -> None: ...

class LogRequest(_message.Message):
    __slots__ = ("request_id", "replica_id", "tail_lines", "follow", "previous")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    TAIL_LINES_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    replica_id: str
    tail_lines: int
    follow: bool
    previous: bool
    def __init__(self, request_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., tail_lines: _Optional[int] = ..., follow: bool = ..., previous: bool = ...) -> None: ...

class SendLogRequest(_message.Message):
    __slots__ = ("request_id", "chunk", "error")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    chunk: bytes
    error: str
    def __init__(self, request_id: _Optional[str] = ..., chunk: _Optional[bytes] = ..., error: _Optional[str] = ...) -> None: ...

class SendLogResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DesiredState(_message.Message):
    __slots__ = ("generation", "replicas")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    generation: int
    replicas: _containers.RepeatedCompositeFieldContainer[DesiredReplica]
    def __init__(self, generation: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[DesiredReplica, _Mapping]]] = ...) -> None: ...

class DesiredReplica(_message.Message):
    __slots__ = ("replica_id", "version", "allocation", "serving")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    version: _resources_pb2.Version
    allocation: _resources_pb2.Allocation
    serving: _resources_pb2.Serving
    def __init__(self, replica_id: _Optional[str] = ..., version: _Optional[_Union[_resources_pb2.Version, _Mapping]] = ..., allocation: _Optional[_Union[_resources_pb2.Allocation, _Mapping]] = ..., serving: _Optional[_Union[_resources_pb2.Serving, _Mapping]] = ...) -> None: ...
