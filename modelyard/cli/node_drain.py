"""Waiting until a node is empty, with a word on what holds it up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from modelyard.cli.controller import Controller
from modelyard.cli.errors import WaitTimeoutError
from modelyard.cli.waiting import describe, tell_progress
from modelyard.errors import FailedPreconditionError, NotFoundError, UnavailableError

_POLL_S = 0.5
_TOLD = 3


def wait_drained(yard: Controller, host: str, timeout_s: float) -> Any:
    """The node once it has no replicas. FailedPreconditionError where somebody opened it meanwhile.

    A controller that is away for a while, such as one that is started anew, is waited for.
    """
    end = time.monotonic() + timeout_s
    with tell_progress(f"draining {host}", look=f"modelyard node show {host}") as progress:
        while True:
            try:
                node, text = _look(yard, host)
            except UnavailableError as error:
                node, text = None, f"{host}: {error.message}"
            if not text:
                return node
            if time.monotonic() > end:
                raise WaitTimeoutError(f"{text}; not empty after {timeout_s:g} s, and the drain goes on")
            progress.tell(text)
            time.sleep(_POLL_S)


def _look(yard: Controller, host: str) -> tuple[Any, str]:
    """The node, and what is still to be done; "": nothing."""
    from modelyard.v1 import deployments_pb2

    status = yard.cluster.GetStatus(deployments_pb2.GetStatusRequest())
    node = _find(status, host)
    left = [replica for replica in status.replicas if replica.node == host]
    if not left:
        return node, ""
    _check_still_drained(node)
    return node, describe_rest(node, left, status.deployments)


def _find(status: Any, host: str) -> Any:
    node = next((node for node in status.nodes if node.node == host), None)
    if node is None:
        raise NotFoundError(f"there is no node {host!r} any more: modelyard nodes")
    return node


def _check_still_drained(node: Any) -> None:
    scheduling = node.scheduling
    if scheduling.state != scheduling.DRAINING:
        raise FailedPreconditionError(f"{node.node} was opened or cordoned meanwhile, and is no longer drained")


def describe_rest(node: Any, left: Sequence[Any], deployments: Sequence[Any]) -> str:
    """What is left on a node that is drained, and what each deployment waits for."""
    parts = [f"{node.node}: {len(left)} {'replica' if len(left) == 1 else 'replicas'} left"]
    if not node.connected:
        parts.append("its agent is away")
    if leaving := sum(replica.retiring for replica in left):
        parts.append(f"{leaving} on the way out")
    waiting = list(_describe_waiting(left, deployments))
    more = [f"and {len(waiting) - _TOLD} deployments more"] if len(waiting) > _TOLD else []
    return "; ".join([", ".join(parts), *waiting[:_TOLD], *more])


def _describe_waiting(left: Sequence[Any], deployments: Sequence[Any]) -> Iterator[str]:
    """Those first that will not be done by time alone."""
    from modelyard.v1.resources_pb2 import DeploymentStatus

    held = {(replica.model, replica.alias) for replica in left if not replica.retiring}
    concerned = [deployment for deployment in deployments if (deployment.model, deployment.alias) in held]
    # One that is as wished, and holds the node up all the same, has no place elsewhere.
    stuck = (DeploymentStatus.DEGRADED, DeploymentStatus.READY)
    for deployment in sorted(concerned, key=lambda d: d.status.state not in stuck):
        yield describe(deployment)
