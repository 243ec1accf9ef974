from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_FORMAT_UNSPECIFIED: _ClassVar[ModelFormat]
    MODEL_FORMAT_ONNX: _ClassVar[ModelFormat]
    MODEL_FORMAT_SAVEDMODEL: _ClassVar[ModelFormat]
    MODEL_FORMAT_TENSORRT: _ClassVar[ModelFormat]

class Packaging(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PACKAGING_UNSPECIFIED: _ClassVar[Packaging]
    PACKAGING_FILE: _ClassVar[Packaging]
    PACKAGING_TAR: _ClassVar[Packaging]

class ReplicaState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_STATE_UNSPECIFIED: _ClassVar[ReplicaState]
    REPLICA_STATE_PENDING: _ClassVar[ReplicaState]
    REPLICA_STATE_FETCHING: _ClassVar[ReplicaState]
    REPLICA_STATE_STARTING: _ClassVar[ReplicaState]
    REPLICA_STATE_READY: _ClassVar[ReplicaState]
    REPLICA_STATE_UNHEALTHY: _ClassVar[ReplicaState]
    REPLICA_STATE_BACKOFF: _ClassVar[ReplicaState]
    REPLICA_STATE_DRAINING: _ClassVar[ReplicaState]
    REPLICA_STATE_STOPPED: _ClassVar[ReplicaState]
MODEL_FORMAT_UNSPECIFIED: ModelFormat
MODEL_FORMAT_ONNX: ModelFormat
MODEL_FORMAT_SAVEDMODEL: ModelFormat
MODEL_FORMAT_TENSORRT: ModelFormat
PACKAGING_UNSPECIFIED: Packaging
PACKAGING_FILE: Packaging
PACKAGING_TAR: Packaging
REPLICA_STATE_UNSPECIFIED: ReplicaState
REPLICA_STATE_PENDING: ReplicaState
REPLICA_STATE_FETCHING: ReplicaState
REPLICA_STATE_STARTING: ReplicaState
REPLICA_STATE_READY: ReplicaState
REPLICA_STATE_UNHEALTHY: ReplicaState
REPLICA_STATE_BACKOFF: ReplicaState
REPLICA_STATE_DRAINING: ReplicaState
REPLICA_STATE_STOPPED: ReplicaState

class TensorSpec(_message.Message):
    __slots__ = ("name", "datatype", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    datatype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., datatype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("inputs", "outputs")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    def __init__(self, inputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ...) -> None: ...

class FormatDetails(_message.Message):
    __slots__ = ("onnx", "savedmodel", "tensorrt")
    ONNX_FIELD_NUMBER: _ClassVar[int]
    SAVEDMODEL_FIELD_NUMBER: _ClassVar[int]
    TENSORRT_FIELD_NUMBER: _ClassVar[int]
    onnx: OnnxDetails
    savedmodel: SavedModelDetails
    tensorrt: TensorrtDetails
    def __init__(self, onnx: _Optional[_Union[OnnxDetails, _Mapping]] = ..., savedmodel: _Optional[_Union[SavedModelDetails, _Mapping]] = ..., tensorrt: _Optional[_Union[TensorrtDetails, _Mapping]] = ...) -> None: ...

class OnnxDetails(_message.Message):
    __slots__ = ("ir_version", "opsets", "producer", "producer_version", "external_data_files")
    class OpsetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    IR_VERSION_FIELD_NUMBER: _ClassVar[int]
    OPSETS_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_DATA_FILES_FIELD_NUMBER: _ClassVar[int]
    ir_version: int
    opsets: _containers.ScalarMap[str, int]
    producer: str
    producer_version: str
    external_data_files: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ir_version: _Optional[int] = ..., opsets: _Optional[_Mapping[str, int]] = ..., producer: _Optional[str] = ..., producer_version: _Optional[str] = ..., external_data_files: _Optional[_Iterable[str]] = ...) -> None: ...

class SavedModelDetails(_message.Message):
    __slots__ = ("tensorflow_version", "tags", "signatures", "served_signature")
    class SignaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Signature
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Signature, _Mapping]] = ...) -> None: ...
    TENSORFLOW_VERSION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    SERVED_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    tensorflow_version: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    signatures: _containers.MessageMap[str, Signature]
    served_signature: str
    def __init__(self, tensorflow_version: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., signatures: _Optional[_Mapping[str, Signature]] = ..., served_signature: _Optional[str] = ...) -> None: ...

class TensorrtDetails(_message.Message):
    __slots__ = ("tensorrt_version", "gpu")
    TENSORRT_VERSION_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    tensorrt_version: str
    gpu: str
    def __init__(self, tensorrt_version: _Optional[str] = ..., gpu: _Optional[str] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("git_commit", "training_run", "dataset_uri", "uri")
    GIT_COMMIT_FIELD_NUMBER: _ClassVar[int]
    TRAINING_RUN_FIELD_NUMBER: _ClassVar[int]
    DATASET_URI_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    git_commit: str
    training_run: str
    dataset_uri: str
    uri: str
    def __init__(self, git_commit: _Optional[str] = ..., training_run: _Optional[str] = ..., dataset_uri: _Optional[str] = ..., uri: _Optional[str] = ...) -> None: ...

class Sample(_message.Message):
    __slots__ = ("sha256", "size_bytes", "is_made")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    IS_MADE_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    is_made: bool
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., is_made: bool = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("model_id", "user", "create_time")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    user: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, model_id: _Optional[str] = ..., user: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "model", "latest_version", "aliases", "create_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LATEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    latest_version: int
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., latest_version: _Optional[int] = ..., aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("name", "model_id", "model", "number", "format", "uri", "sha256", "size_bytes", "signature", "description", "user", "metrics", "parameters", "tags", "create_time", "packaging", "details", "source", "sample", "origin", "revision", "delete_time", "purge_time")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    PACKAGING_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    PURGE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    model_id: str
    model: str
    number: int
    format: ModelFormat
    uri: str
    sha256: str
    size_bytes: int
    signature: Signature
    description: str
    user: str
    metrics: _containers.ScalarMap[str, float]
    parameters: _containers.ScalarMap[str, str]
    tags: _containers.ScalarMap[str, str]
    create_time: _timestamp_pb2.Timestamp
    packaging: Packaging
    details: FormatDetails
    source: Source
    sample: Sample
    origin: Origin
    revision: int
    delete_time: _timestamp_pb2.Timestamp
    purge_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., model_id: _Optional[str] = ..., model: _Optional[str] = ..., number: _Optional[int] = ..., format: _Optional[_Union[ModelFormat, str]] = ..., uri: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., signature: _Optional[_Union[Signature, _Mapping]] = ..., description: _Optional[str] = ..., user: _Optional[str] = ..., metrics: _Optional[_Mapping[str, float]] = ..., parameters: _Optional[_Mapping[str, str]] = ..., tags: _Optional[_Mapping[str, str]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., packaging: _Optional[_Union[Packaging, str]] = ..., details: _Optional[_Union[FormatDetails, _Mapping]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., sample: _Optional[_Union[Sample, _Mapping]] = ..., origin: _Optional[_Union[Origin, _Mapping]] = ..., revision: _Optional[int] = ..., delete_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., purge_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class VersionChange(_message.Message):
    __slots__ = ("revision", "user", "reason", "time", "changes_json")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CHANGES_JSON_FIELD_NUMBER: _ClassVar[int]
    revision: int
    user: str
    reason: str
    time: _timestamp_pb2.Timestamp
    changes_json: str
    def __init__(self, revision: _Optional[int] = ..., user: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., changes_json: _Optional[str] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "model", "alias", "version", "user", "reason", "update_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    alias: str
    version: int
    user: str
    reason: str
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ..., user: _Optional[str] = ..., reason: _Optional[str] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AliasMove(_message.Message):
    __slots__ = ("model", "alias", "kind", "from_version", "to_version", "user", "reason", "time")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[AliasMove.Kind]
        SET: _ClassVar[AliasMove.Kind]
        ROLLBACK: _ClassVar[AliasMove.Kind]
        REMOVE: _ClassVar[AliasMove.Kind]
    KIND_UNSPECIFIED: AliasMove.Kind
    SET: AliasMove.Kind
    ROLLBACK: AliasMove.Kind
    REMOVE: AliasMove.Kind
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    model: str
    alias: str
    kind: AliasMove.Kind
    from_version: int
    to_version: int
    user: str
    reason: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, model: _Optional[str] = ..., alias: _Optional[str] = ..., kind: _Optional[_Union[AliasMove.Kind, str]] = ..., from_version: _Optional[int] = ..., to_version: _Optional[int] = ..., user: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("name", "model", "alias", "replicas", "threads", "memory_bytes", "no_retries", "status", "gpu_percent", "gpu_memory_bytes", "serving")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    NO_RETRIES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    GPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    alias: str
    replicas: int
    threads: int
    memory_bytes: int
    no_retries: bool
    status: DeploymentStatus
    gpu_percent: int
    gpu_memory_bytes: int
    serving: Serving
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., alias: _Optional[str] = ..., replicas: _Optional[int] = ..., threads: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., no_retries: bool = ..., status: _Optional[_Union[DeploymentStatus, _Mapping]] = ..., gpu_percent: _Optional[int] = ..., gpu_memory_bytes: _Optional[int] = ..., serving: _Optional[_Union[Serving, _Mapping]] = ...) -> None: ...

class Serving(_message.Message):
    __slots__ = ("runtime", "max_batch_rows", "max_batch_wait_us")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_WAIT_US_FIELD_NUMBER: _ClassVar[int]
    runtime: str
    max_batch_rows: int
    max_batch_wait_us: int
    def __init__(self, runtime: _Optional[str] = ..., max_batch_rows: _Optional[int] = ..., max_batch_wait_us: _Optional[int] = ...) -> None: ...

class DeploymentStatus(_message.Message):
    __slots__ = ("state", "target_version", "serving_version", "ready_replicas", "message")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[DeploymentStatus.State]
        PENDING: _ClassVar[DeploymentStatus.State]
        PROGRESSING: _ClassVar[DeploymentStatus.State]
        READY: _ClassVar[DeploymentStatus.State]
        DEGRADED: _ClassVar[DeploymentStatus.State]
    STATE_UNSPECIFIED: DeploymentStatus.State
    PENDING: DeploymentStatus.State
    PROGRESSING: DeploymentStatus.State
    READY: DeploymentStatus.State
    DEGRADED: DeploymentStatus.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    TARGET_VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVING_VERSION_FIELD_NUMBER: _ClassVar[int]
    READY_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    state: DeploymentStatus.State
    target_version: int
    serving_version: int
    ready_replicas: int
    message: str
    def __init__(self, state: _Optional[_Union[DeploymentStatus.State, str]] = ..., target_version: _Optional[int] = ..., serving_version: _Optional[int] = ..., ready_replicas: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class Allocation(_message.Message):
    __slots__ = ("cores", "threads", "memory_bytes", "gpu", "is_memory_estimated")
    CORES_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    IS_MEMORY_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    cores: _containers.RepeatedScalarFieldContainer[int]
    threads: int
    memory_bytes: int
    gpu: GpuShare
    is_memory_estimated: bool
    def __init__(self, cores: _Optional[_Iterable[int]] = ..., threads: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., gpu: _Optional[_Union[GpuShare, _Mapping]] = ..., is_memory_estimated: bool = ...) -> None: ...

class GpuShare(_message.Message):
    __slots__ = ("uuid", "percent", "memory_bytes")
    UUID_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    percent: int
    memory_bytes: int
    def __init__(self, uuid: _Optional[str] = ..., percent: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("name", "replica_id", "model", "version", "alias", "node", "allocation", "state", "address", "restarts", "message", "retiring", "serving", "runtime", "memory_used_bytes", "metrics_address", "create_time", "start_times")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETIRING_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIMES_FIELD_NUMBER: _ClassVar[int]
    name: str
    replica_id: str
    model: str
    version: int
    alias: str
    node: str
    allocation: Allocation
    state: ReplicaState
    address: str
    restarts: int
    message: str
    retiring: bool
    serving: Serving
    runtime: str
    memory_used_bytes: int
    metrics_address: str
    create_time: _timestamp_pb2.Timestamp
    start_times: StartTimes
    def __init__(self, name: _Optional[str] = ..., replica_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., alias: _Optional[str] = ..., node: _Optional[str] = ..., allocation: _Optional[_Union[Allocation, _Mapping]] = ..., state: _Optional[_Union[ReplicaState, str]] = ..., address: _Optional[str] = ..., restarts: _Optional[int] = ..., message: _Optional[str] = ..., retiring: bool = ..., serving: _Optional[_Union[Serving, _Mapping]] = ..., runtime: _Optional[str] = ..., memory_used_bytes: _Optional[int] = ..., metrics_address: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., start_times: _Optional[_Union[StartTimes, _Mapping]] = ...) -> None: ...

class StartTimes(_message.Message):
    __slots__ = ("fetch_s", "start_s", "load_s", "warm_up_s", "probe_s")
    FETCH_S_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    LOAD_S_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_S_FIELD_NUMBER: _ClassVar[int]
    PROBE_S_FIELD_NUMBER: _ClassVar[int]
    fetch_s: float
    start_s: float
    load_s: float
    warm_up_s: float
    probe_s: float
    def __init__(self, fetch_s: _Optional[float] = ..., start_s: _Optional[float] = ..., load_s: _Optional[float] = ..., warm_up_s: _Optional[float] = ..., probe_s: _Optional[float] = ...) -> None: ...

class NodeResources(_message.Message):
    __slots__ = ("cores", "memory_bytes", "replicas_per_core", "hardware_class", "formats", "topology", "gpus", "gpu_message", "runtimes", "driver_version")
    CORES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_PER_CORE_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_CLASS_FIELD_NUMBER: _ClassVar[int]
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    GPU_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    DRIVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    cores: _containers.RepeatedScalarFieldContainer[int]
    memory_bytes: int
    replicas_per_core: int
    hardware_class: str
    formats: _containers.RepeatedScalarFieldContainer[ModelFormat]
    topology: _containers.RepeatedCompositeFieldContainer[CpuCore]
    gpus: _containers.RepeatedCompositeFieldContainer[Gpu]
    gpu_message: str
    runtimes: _containers.RepeatedCompositeFieldContainer[RuntimeOffer]
    driver_version: str
    def __init__(self, cores: _Optional[_Iterable[int]] = ..., memory_bytes: _Optional[int] = ..., replicas_per_core: _Optional[int] = ..., hardware_class: _Optional[str] = ..., formats: _Optional[_Iterable[_Union[ModelFormat, str]]] = ..., topology: _Optional[_Iterable[_Union[CpuCore, _Mapping]]] = ..., gpus: _Optional[_Iterable[_Union[Gpu, _Mapping]]] = ..., gpu_message: _Optional[str] = ..., runtimes: _Optional[_Iterable[_Union[RuntimeOffer, _Mapping]]] = ..., driver_version: _Optional[str] = ...) -> None: ...

class CpuCore(_message.Message):
    __slots__ = ("number", "socket", "numa_node", "physical_core")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SOCKET_FIELD_NUMBER: _ClassVar[int]
    NUMA_NODE_FIELD_NUMBER: _ClassVar[int]
    PHYSICAL_CORE_FIELD_NUMBER: _ClassVar[int]
    number: int
    socket: int
    numa_node: int
    physical_core: int
    def __init__(self, number: _Optional[int] = ..., socket: _Optional[int] = ..., numa_node: _Optional[int] = ..., physical_core: _Optional[int] = ...) -> None: ...

class Gpu(_message.Message):
    __slots__ = ("uuid", "hardware_class", "memory_bytes", "compute_capability", "parent_uuid", "pci_bus_id", "shares", "whole_because")
    UUID_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_CLASS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_CAPABILITY_FIELD_NUMBER: _ClassVar[int]
    PARENT_UUID_FIELD_NUMBER: _ClassVar[int]
    PCI_BUS_ID_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    WHOLE_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    hardware_class: str
    memory_bytes: int
    compute_capability: str
    parent_uuid: str
    pci_bus_id: str
    shares: _containers.RepeatedScalarFieldContainer[int]
    whole_because: str
    def __init__(self, uuid: _Optional[str] = ..., hardware_class: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., compute_capability: _Optional[str] = ..., parent_uuid: _Optional[str] = ..., pci_bus_id: _Optional[str] = ..., shares: _Optional[_Iterable[int]] = ..., whole_because: _Optional[str] = ...) -> None: ...

class GpuCondition(_message.Message):
    __slots__ = ("uuid", "fault", "utilization_percent", "memory_used_bytes", "processes")
    UUID_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    fault: str
    utilization_percent: int
    memory_used_bytes: int
    processes: int
    def __init__(self, uuid: _Optional[str] = ..., fault: _Optional[str] = ..., utilization_percent: _Optional[int] = ..., memory_used_bytes: _Optional[int] = ..., processes: _Optional[int] = ...) -> None: ...

class RuntimeOffer(_message.Message):
    __slots__ = ("name", "version", "cpu_formats", "gpu_formats")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CPU_FORMATS_FIELD_NUMBER: _ClassVar[int]
    GPU_FORMATS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    cpu_formats: _containers.RepeatedScalarFieldContainer[ModelFormat]
    gpu_formats: _containers.RepeatedScalarFieldContainer[ModelFormat]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., cpu_formats: _Optional[_Iterable[_Union[ModelFormat, str]]] = ..., gpu_formats: _Optional[_Iterable[_Union[ModelFormat, str]]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("name", "node", "address", "resources", "connected", "free_core_slots", "free_memory_bytes", "replicas", "last_seen_time", "scheduling", "gpus", "agent_release")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    FREE_CORE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    SCHEDULING_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    AGENT_RELEASE_FIELD_NUMBER: _ClassVar[int]
    name: str
    node: str
    address: str
    resources: NodeResources
    connected: bool
    free_core_slots: int
    free_memory_bytes: int
    replicas: int
    last_seen_time: _timestamp_pb2.Timestamp
    scheduling: NodeScheduling
    gpus: _containers.RepeatedCompositeFieldContainer[GpuUse]
    agent_release: str
    def __init__(self, name: _Optional[str] = ..., node: _Optional[str] = ..., address: _Optional[str] = ..., resources: _Optional[_Union[NodeResources, _Mapping]] = ..., connected: bool = ..., free_core_slots: _Optional[int] = ..., free_memory_bytes: _Optional[int] = ..., replicas: _Optional[int] = ..., last_seen_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., scheduling: _Optional[_Union[NodeScheduling, _Mapping]] = ..., gpus: _Optional[_Iterable[_Union[GpuUse, _Mapping]]] = ..., agent_release: _Optional[str] = ...) -> None: ...

class NodeScheduling(_message.Message):
    __slots__ = ("state", "user", "reason", "update_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[NodeScheduling.State]
        OPEN: _ClassVar[NodeScheduling.State]
        CORDONED: _ClassVar[NodeScheduling.State]
        DRAINING: _ClassVar[NodeScheduling.State]
    STATE_UNSPECIFIED: NodeScheduling.State
    OPEN: NodeScheduling.State
    CORDONED: NodeScheduling.State
    DRAINING: NodeScheduling.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    state: NodeScheduling.State
    user: str
    reason: str
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[NodeScheduling.State, str]] = ..., user: _Optional[str] = ..., reason: _Optional[str] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GpuUse(_message.Message):
    __slots__ = ("uuid", "free_percent", "free_memory_bytes", "condition")
    UUID_FIELD_NUMBER: _ClassVar[int]
    FREE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    FREE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    free_percent: int
    free_memory_bytes: int
    condition: GpuCondition
    def __init__(self, uuid: _Optional[str] = ..., free_percent: _Optional[int] = ..., free_memory_bytes: _Optional[int] = ..., condition: _Optional[_Union[GpuCondition, _Mapping]] = ...) -> None: ...
