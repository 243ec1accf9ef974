"""`modelyard deploy` and `undeploy`: what is to be served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.cli.controller import Controller
from modelyard.cli.replica_tables import describe_start, start_seconds
from modelyard.cli.waiting import describe, find_deployment, list_replicas, wait_gone, wait_ready
from modelyard.resource_names import check_alias_name, check_model_name, deployment_name

_NEVER_MERGED = 1


def deploy(
    *,
    name: options.ModelArgument,
    alias: options.AliasOption = "production",
    replicas: Annotated[int | None, typer.Option(min=1, help="How many.  [default: 1 for a new deployment]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU cores and threads of each replica.")] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of each replica, such as 512MiB; 0: by the model's size.")
    ] = None,
    gpu_share: Annotated[
        int | None,
        typer.Option(metavar="PERCENT", min=0, max=100, help="Of one GPU, for each replica; 0: on the CPU."),
    ] = None,
    gpu_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of that GPU, such as 4GiB; 0: the same share of it.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(metavar="NAME", help="built-in or triton; any: the first of a node's that can.")
    ] = None,
    max_batch: Annotated[
        str | None,
        typer.Option(
            metavar="ROWS",
            help="Most rows computed at once; auto: as many as help, on Triton one request; off: one request.",
        ),
    ] = None,
    batch_wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long a batch waits for more, such as 500us.")
    ] = None,
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

    What is not given stays as it is. Where replicas must change for it, others take their place, and the old ones serve
    until those are ready.

    A share of a GPU needs a node that offers it: `modelyard nodes` lists what is free, `modelyard node show HOST` the
    shares and runtimes. What --gpu-memory states must be there for each replica, in a change for the old ones as well.
    """
    values: dict[str, Any] = {
        "replicas": replicas,
        "threads": threads,
        "memory_bytes": _parse(parsing.parse_size, "--memory", memory),
        "no_retries": None if retries is None else not retries,
        "gpu_percent": gpu_share,
        "gpu_memory_bytes": _parse(parsing.parse_size, "--gpu-memory", gpu_memory),
        "serving.runtime": "" if runtime == "any" else runtime,
        "serving.max_batch_rows": _parse(parsing.parse_batch_rows, "--max-batch", max_batch),
        "serving.max_batch_wait_us": _parse(parsing.parse_wait_us, "--batch-wait", batch_wait),
    }
    if values["serving.max_batch_rows"] == _NEVER_MERGED and values["serving.max_batch_wait_us"]:
        raise typer.BadParameter("requests that are never merged do not wait", param_hint="--batch-wait")
    resource = deployment_name(check_model_name(name), check_alias_name(alias))
    started: list[Any] = []
    with Controller(controller) as yard:
        before = {replica.replica_id for replica in list_replicas(yard, resource)} if wait else set()
        deployment = _update(yard, resource, {key: value for key, value in values.items() if value is not None})
        if wait:
            deployment = wait_ready(yard, resource, timeout)
            started = [replica for replica in list_replicas(yard, resource) if replica.replica_id not in before]
    if as_json:
        output.print_json(output.to_plain(deployment))
        return
    typer.echo(describe(deployment))
    _print_slowest_start(started)


def _parse(parse: Callable[[str, str], int], option: str, text: str | None) -> int | None:
    return None if text is None else parse(option, text)


def _print_slowest_start(replicas: Sequence[Any]) -> None:
    """Where their node tells: agents of an earlier release do not."""
    timed = [replica for replica in replicas if replica.HasField("start_times")]
    if not timed:
        return
    slowest = max(timed, key=start_seconds)
    which = (
        slowest.replica_id if len(timed) == 1 else f"the slowest of {len(timed)} new replicas, {slowest.replica_id},"
    )
    typer.echo(f"{which} started in {describe_start(slowest)}")


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
    own = {path: value for path, value in values.items() if "." not in path}
    serving = {path.removeprefix("serving."): value for path, value in values.items() if "." in path}
    request = deployments_pb2.UpdateDeploymentRequest(
        deployment=resources_pb2.Deployment(name=resource, model=model, alias=alias, serving=serving, **own),
        allow_missing=True,
        user=options.login_name(),
    )
    request.update_mask.paths.extend(values)
    return yard.deployments.UpdateDeployment(request).deployment
