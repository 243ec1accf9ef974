"""Waiting for what the yard was asked to do, with a word on how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelyard.cli import output
from modelyard.cli.controller import Controller
from modelyard.cli.errors import WaitTimeoutError
from modelyard.errors import FailedPreconditionError, NotFoundError
from modelyard.resource_names import parse_deployment_name

_POLL_S = 0.25
# A deployment that was wrong and has just been changed is called wrong until the controller has looked at it again.
_SETTLE_S = 2.0
# A router that takes longer has a trouble of its own, which `modelyard status` tells.
_ROUTED_S = 5.0


def find_deployment(yard: Controller, resource: str) -> Any | None:
    """The deployment of this name, or None."""
    try:
        return get_deployment(yard, resource)
    except NotFoundError:
        return None


def get_deployment(yard: Controller, resource: str) -> Any:
    """The deployment of this name. Raises NotFoundError."""
    from modelyard.v1 import deployments_pb2

    return yard.deployments.GetDeployment(deployments_pb2.GetDeploymentRequest(name=resource)).deployment


def list_replicas(yard: Controller, resource: str) -> list[Any]:
    """Those of the deployment of this name, whether it is there or not."""
    from modelyard.v1 import deployments_pb2

    return list(yard.cluster.ListReplicas(deployments_pb2.ListReplicasRequest(parent=resource)).replicas)


def wait_ready(yard: Controller, resource: str, timeout_s: float) -> Any:
    """The deployment once it is READY, and the routers send requests there.

    FailedPreconditionError with the yard's reason once it is DEGRADED.
    """
    from modelyard.v1.resources_pb2 import DeploymentStatus

    start = time.monotonic()
    with tell_progress(f"deploying {short_name(resource)}") as progress:
        while True:
            deployment = get_deployment(yard, resource)
            state, waited_s = deployment.status.state, time.monotonic() - start
            if state == DeploymentStatus.READY:
                _wait_routed(yard, progress)
                return deployment
            if state == DeploymentStatus.DEGRADED and waited_s > _SETTLE_S:
                raise FailedPreconditionError(describe(deployment))
            if waited_s > timeout_s:
                raise WaitTimeoutError(f"{describe(deployment)}; not ready after {timeout_s:g} s, and still under way")
            if state != DeploymentStatus.DEGRADED:  # else it is the error's to say
                progress.tell(describe(deployment))
            time.sleep(_POLL_S)


def _wait_routed(yard: Controller, progress: output.Progress) -> None:
    """Until each router that can follows the route table of this moment: who asks at once is to be answered."""
    from modelyard.v1 import deployments_pb2

    end, version = time.monotonic() + _ROUTED_S, 0
    while time.monotonic() < end:
        status = yard.cluster.GetStatus(deployments_pb2.GetStatusRequest())
        version = version or status.route_table_version
        if all(r.applied_version >= version for r in status.routers if r.connected and not r.error):
            return
        progress.tell("the routers are told")
        time.sleep(_POLL_S / 10)


def wait_gone(yard: Controller, resource: str, timeout_s: float) -> None:
    """Returns once no replica of the deployment is left."""
    end = time.monotonic() + timeout_s
    with tell_progress(f"stopping {short_name(resource)}") as progress:
        while True:
            replicas = list_replicas(yard, resource)
            if not replicas:
                return
            if time.monotonic() > end:
                raise WaitTimeoutError(f"{len(replicas)} replicas still run after {timeout_s:g} s: modelyard replicas")
            progress.tell(f"{short_name(resource)}: {len(replicas)} still to stop")
            time.sleep(_POLL_S)


def describe(deployment: Any) -> str:
    """As in "resnet@production: READY: version 1 is served by 1 replica"."""
    status = deployment.status
    state = output.enum_name(status.DESCRIPTOR.fields_by_name["state"].enum_type, status.state)
    message = status.message or f"{status.ready_replicas} of {deployment.replicas} replicas ready"
    return f"{deployment.model}@{deployment.alias}: {state}: {message}"


def short_name(resource: str) -> str:
    """What people type: "resnet@production" for "models/resnet/deployments/production"."""
    return "@".join(parse_deployment_name(resource))


@contextmanager
def tell_progress(text: str, look: str = "modelyard status") -> Iterator[output.Progress]:
    """`look`: the command that tells how far it is, for whoever does not wait."""
    try:
        with output.show_progress(text) as progress:
            yield progress
    except KeyboardInterrupt:
        sys.stderr.write(f"{text} goes on without you: {look}\n")
        raise
