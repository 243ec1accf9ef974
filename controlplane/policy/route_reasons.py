"""Why a known name has no answer yet, in a sentence for the client that asked."""

from collections.abc import Sequence

from controlplane.domain import Deployment, DeploymentKey, ObservedReplica
from controlplane.policy.wording import deploy_command, describe_states
from modelyard.resource_names import model_id


def explain_alias(
    key: DeploymentKey, version: int, deployment: Deployment | None, seen: Sequence[ObservedReplica]
) -> str:
    """Of an alias that nothing serves; `seen` are the replicas of its version."""
    name = model_id(key.model, version)
    if deployment is None:
        command = f"`modelyard deploy {key.model} --alias {key.alias}`"
        return f"{name}: the alias {key.alias} is not deployed; deploy it with {command}"
    if not deployment.replicas:
        return f"{name}: scaled to 0 replicas; {deploy_command(deployment, 1)} serves it again"
    return explain_version(key.model, version, seen)


def explain_version(model: str, version: int, seen: Sequence[ObservedReplica]) -> str:
    """Of a version whose replicas are not ready, or not there."""
    if not seen:
        return f"{model_id(model, version)}: no replica has a place yet; `modelyard status` says why"
    return f"{model_id(model, version)}: {describe_states(seen)}"


def explain_no_production(model: str, aliases: Sequence[str], production: str) -> str:
    """Of a bare name that no alias stands for."""
    others = " or ".join(f"{model}@{alias}" for alias in aliases[:3])
    return (
        f"{model} has no alias {production}: name {others}, or set it with `modelyard alias set {model} {production} 1`"
    )
