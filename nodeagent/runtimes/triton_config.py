"""A replica's config.pbtxt. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from nodeagent.replica_spec import ReplicaSpec, TensorSpec
from nodeagent.runtimes.base import Launch
from nodeagent.runtimes.triton_backends import Backend, knows_signature


@dataclass(frozen=True)
class ConfigLimits:
    """`max_batch_size`: rows of a request, for models that take batches, where requests are not merged."""

    max_batch_size: int


def make_config(launch: Launch, backend: Backend, limits: ConfigLimits, *, model_file: str = "") -> Any:
    """A ModelConfig: https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto

    `model_file`: what it is called, where that is not the backend's usual. Of a model whose signature is not known
    the backend completes it, by the most rows that the model takes, and merges requests by itself up to these.
    """
    spec = launch.spec
    known = knows_signature(spec)
    batched = has_batch_dimension(spec) if known else spec.max_batch_rows > 1
    merges = batched and spec.max_batch_rows > 1
    config = model_config_pb2.ModelConfig(
        name=spec.model,
        backend=backend.name,
        platform=backend.platform,
        # Triton has one limit for what a request may have and for what requests are merged to.
        max_batch_size=(spec.max_batch_rows if merges else limits.max_batch_size) if batched else 0,
        input=_tensors(model_config_pb2.ModelInput, spec.inputs if known else (), batched),
        output=_tensors(model_config_pb2.ModelOutput, spec.outputs if known else (), batched),
        default_model_filename=model_file,
    )
    config.version_policy.specific.versions.append(spec.version)
    group = config.instance_group.add(count=1, kind="KIND_GPU" if spec.gpu else "KIND_CPU")
    if spec.gpu:
        group.gpus.append(0)  # it sees no other
    if merges:
        config.dynamic_batching.max_queue_delay_microseconds = spec.max_batch_wait_us
        # No bound for the queue: with one, Triton 2.51 lets requests lie for half a second now and then.
    for name, value in backend.parameters(launch).items():
        config.parameters[name].string_value = value
    return config


def has_batch_dimension(spec: ReplicaSpec) -> bool:
    """As the built-in server decides it: the first dimension of every input and output varies.

    Where it is the only one, it is not told to Triton, which knows no batch of scalars: clients had to send [n, 1].
    """
    return all(tensor.shape[:1] == (-1,) and len(tensor.shape) > 1 for tensor in (*spec.inputs, *spec.outputs))


def to_text(config: Any) -> str:
    return str(text_format.MessageToString(config))


def _tensors(message: Any, tensors: Iterable[TensorSpec], batched: bool) -> list[Any]:
    return [_tensor(message, tensor, batched) for tensor in tensors]


def _tensor(message: Any, tensor: TensorSpec, batched: bool) -> Any:
    dims = tensor.shape[1:] if batched else tensor.shape
    type_name = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    # Triton knows no scalars: clients send [1].
    return message(name=tensor.name, data_type=f"TYPE_{type_name}", dims=dims or (1,))
