"""`modelyard deploy` and `undeploy`: what is to be served."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.cli.controller import Controller
from modelyard.cli.waiting import describe, find_deployment, wait_gone, wait_ready
from modelyard.resource_names import check_alias_name, check_model_name, deployment_name


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
            deployment = wait_ready(yard, resource, timeout)
    if as_json:
        output.print_json(output.to_plain(deployment))
    else:
        typer.echo(describe(deployment))


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
        yard.deployments.DeleteDeployment(
            deployments_pb2.DeleteDeploymentRequest(name=resource, user=options.login_name())
        )
        if wait:
            wait_gone(yard, resource, timeout)
    if as_json:
        output.print_json({"name": resource, "removed": True})
    else:
        typer.echo(f"{name}@{alias} is no longer served" if wait else f"{name}@{alias} is being stopped")


def _update(yard: Controller, resource: str, values: dict[str, Any]) -> Any:
    from modelyard.v1 import deployments_pb2, resources_pb2

    if find_deployment(yard, resource) is None:
        values = {"replicas": 1, "threads": 1, **values}
    _, model, _, alias = resource.split("/")
    request = deployments_pb2.UpdateDeploymentRequest(
        deployment=resources_pb2.Deployment(name=resource, model=model, alias=alias, **values),
        allow_missing=True,
        user=options.login_name(),
    )
    request.update_mask.paths.extend(values)
    return yard.deployments.UpdateDeployment(request).deployment
