"""What the server says of its model, without running it."""

from collections.abc import Iterable
from typing import Any

from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as pb

from nodeagent.modelserver.batch import NEVER_MERGED, BatchLimits
from nodeagent.modelserver.datatypes import config_name
from nodeagent.modelserver.session import Engine
from nodeagent.modelserver.signature import Signature, TensorSpec


def model_metadata(model: str, version: str, signature: Signature, engine: Engine) -> Any:
    return pb.ModelMetadataResponse(
        name=model,
        versions=[version],
        platform=engine.platform,
        inputs=_tensor_metadata(signature.inputs),
        outputs=_tensor_metadata(signature.outputs),
    )


def model_config(
    model: str,
    version: str,
    signature: Signature,
    engine: Engine,
    *,
    max_batch_size: int,
    device: str = "cpu",
    batches: BatchLimits = NEVER_MERGED,
) -> Any:
    """As Triton would describe the same model: `dims` leave out the batch dimension where there is one."""
    batched = signature.has_batch_dimension
    config = model_config_pb2.ModelConfig(
        name=model,
        platform=engine.platform,
        backend=engine.backend,
        max_batch_size=max_batch_size if batched else 0,
        input=[_tensor_config(model_config_pb2.ModelInput, spec, batched) for spec in signature.inputs],
        output=[_tensor_config(model_config_pb2.ModelOutput, spec, batched) for spec in signature.outputs],
    )
    config.version_policy.specific.versions.append(int(version))
    config.instance_group.add(name=f"{model}_0", count=1, kind="KIND_CPU" if device == "cpu" else "KIND_GPU")
    if batches.max_rows > 1:
        config.dynamic_batching.preferred_batch_size.append(batches.max_rows)
        config.dynamic_batching.max_queue_delay_microseconds = batches.max_wait_ns // 1000
    for name, value in engine.parameters.items():
        config.parameters[name].string_value = value
    return pb.ModelConfigResponse(config=config)


def _tensor_metadata(specs: Iterable[TensorSpec]) -> list[Any]:
    metadata = pb.ModelMetadataResponse.TensorMetadata
    return [metadata(name=spec.name, datatype=spec.datatype.name, shape=spec.shape) for spec in specs]


def _tensor_config(message: Any, spec: TensorSpec, batched: bool) -> Any:
    dims = spec.shape[1:] if batched else spec.shape
    config = message(name=spec.name, data_type=config_name(spec.datatype), dims=dims or (1,))
    if not dims:
        config.reshape.SetInParent()  # Triton has no empty `dims`: a scalar is [1], reshaped to []
    return config
