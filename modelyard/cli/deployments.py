"""`modelyard deploy` and `undeploy`: what is to be served."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.cli.controller import Controller
from modelyard.cli.errors import WaitTimeoutError
from modelyard.errors import FailedPreconditionError, NotFoundError
from modelyard.resource_names import check_alias_name, check_model_name, deployment_name, parse_deployment_name

_POLL_S = 0.25
# A deployment that was wrong and has just been changed is called wrong until the controller has looked at it again.
_SETTLE_S = 2.0


def deploy(
    *,
    name: options.ModelArgument,
    alias: options.AliasOption = "production",
    replicas: Annotated[int | None, typer.Option(min=1, help="How many.  [default: 1 for a new deployment]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU cores and threads of each replica.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Of each replica, such as 512MiB.")] = None,
    retries: Annotated[
        bool | None,
        typer.Option("--retries/--no-retries", help="Whether a request that may have run may be sent again."),
    ] = None,
    wait: options.Wait = True,
    timeout: options.WaitTimeout = 300.0,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Serve an alias of a model, or change how.

    What is not given stays as it is.
    """
    values: dict[str, Any] = {
        "replicas": replicas,
        "threads": threads,
        "memory_bytes": None if memory is None else parsing.parse_size("--memory", memory),
        "no_retries": None if retries is None else not retries,
    }
    resource = deployment_name(check_model_name(name), check_alias_name(alias))
    with Controller(controller) as yard:
        deployment = _update(yard, resource, {key: value for key, value in values.items() if value is not None})
        if wait:
            deployment = _wait_ready(yard, resource, timeout)
    if as_json:
        output.print_json(output.to_plain(deployment))
    else:
        typer.echo(_describe(deployment))


def undeploy(
    *,
    name: options.ModelArgument,
    alias: options.AliasOption = "production",
    wait: options.Wait = True,
    timeout: options.WaitTimeout = 120.0,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Stop serving an alias of a model.

    Its replicas finish what they began, and stop.
    """
    from modelyard.v1 import deployments_pb2

    resource = deployment_name(check_model_name(name), check_alias_name(alias))
    with Controller(controller) as yard:
        yard.deployments.DeleteDeployment(deployments_pb2.DeleteDeploymentRequest(name=resource))
        if wait:
            _wait_gone(yard, resource, timeout)
    if as_json:
        output.print_json({"name": resource, "removed": True})
    else:
        typer.echo(f"{name}@{alias} is no longer served" if wait else f"{name}@{alias} is being stopped")


def _update(yard: Controller, resource: str, values: dict[str, Any]) -> Any:
    from modelyard.v1 import deployments_pb2, resources_pb2

    if not _exists(yard, resource):
        values = {"replicas": 1, "threads": 1, **values}
    _, model, _, alias = resource.split("/")
    request = deployments_pb2.UpdateDeploymentRequest(
        deployment=resources_pb2.Deployment(name=resource, model=model, alias=alias, **values), allow_missing=True
    )
    request.update_mask.paths.extend(values)
    return yard.deployments.UpdateDeployment(request).deployment


def _exists(yard: Controller, resource: str) -> bool:
    try:
        return _get(yard, resource) is not None
    except NotFoundError:
        return False


def _get(yard: Controller, resource: str) -> Any:
    from modelyard.v1 import deployments_pb2

    return yard.deployments.GetDeployment(deployments_pb2.GetDeploymentRequest(name=resource)).deployment


def _wait_ready(yard: Controller, resource: str, timeout_s: float) -> Any:
    """The deployment once it is READY. FailedPreconditionError with the yard's reason once it is DEGRADED."""
    from modelyard.v1.resources_pb2 import DeploymentStatus

    start = time.monotonic()
    with output.show_progress(f"deploying {_short_name(resource)}") as progress:
        while True:
            deployment = _get(yard, resource)
            waited_s = time.monotonic() - start
            if deployment.status.state == DeploymentStatus.READY:
                return deployment
            if deployment.status.state == DeploymentStatus.DEGRADED and waited_s > _SETTLE_S:
                raise FailedPreconditionError(_describe(deployment))
            if waited_s > timeout_s:
                raise WaitTimeoutError(f"{_describe(deployment)}; not ready after {timeout_s:g} s, and still under way")
            progress.tell(_describe(deployment))
            time.sleep(_POLL_S)


def _wait_gone(yard: Controller, resource: str, timeout_s: float) -> None:
    from modelyard.v1 import deployments_pb2

    end = time.monotonic() + timeout_s
    with output.show_progress(f"stopping {_short_name(resource)}") as progress:
        while True:
            replicas = yard.cluster.ListReplicas(deployments_pb2.ListReplicasRequest(parent=resource)).replicas
            if not replicas:
                return
            if time.monotonic() > end:
                raise WaitTimeoutError(f"{len(replicas)} replicas still run after {timeout_s:g} s: modelyard replicas")
            progress.tell(f"{_short_name(resource)}: {len(replicas)} still to stop")
            time.sleep(_POLL_S)


def _short_name(resource: str) -> str:
    """What people type: "resnet@production" for "models/resnet/deployments/production"."""
    return "@".join(parse_deployment_name(resource))


def _describe(deployment: Any) -> str:
    status = deployment.status
    state = output.enum_name(status.DESCRIPTOR.fields_by_name["state"].enum_type, status.state)
    message = status.message or f"{status.ready_replicas} of {deployment.replicas} replicas ready"
    return f"{deployment.model}@{deployment.alias}: {state}: {message}"
