"""What one replica needs of a node."""

from dataclasses import dataclass, field

from controlplane.domain import Deployment, ModelFormat, Packaging, Serving, TensorrtDetails, Version


@dataclass(frozen=True)
class Demand:
    cores: int
    memory_bytes: int
    format: ModelFormat = ModelFormat.ONNX
    is_folder: bool = False
    is_memory_estimated: bool = False
    gpu_percent: int = 0  # of one GPU; 0: none
    gpu_memory_bytes: int = 0  # 0: the same share of the GPU's
    built_for: str = ""  # the only GPU that can run it, as people call it
    serving: Serving = field(default_factory=Serving)


def compute_demand(deployment: Deployment, version: Version) -> Demand:
    """One core for each thread. Where no memory is stated: 256 MiB for the server, and thrice the model's file.

    A runtime holds the file as it was read, the weights as it lays them out, and room for the activations.
    """
    facts = version.facts
    is_plan = facts.format is ModelFormat.TENSORRT
    return Demand(
        cores=deployment.threads,
        memory_bytes=deployment.memory_bytes or (256 << 20) + 3 * facts.size_bytes,
        format=facts.format,
        is_folder=facts.packaging is Packaging.TAR,
        is_memory_estimated=not deployment.memory_bytes,
        # A plan runs nowhere else: who asked for no share wants the whole GPU.
        gpu_percent=deployment.gpu_percent or (100 if is_plan else 0),
        gpu_memory_bytes=deployment.gpu_memory_bytes,
        built_for=facts.details.gpu if isinstance(facts.details, TensorrtDetails) else "",
        serving=deployment.serving,
    )
