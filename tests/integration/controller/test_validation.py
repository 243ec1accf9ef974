"""What can be asked of a deployment, and how what cannot is refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode, aio

from modelyard.v1 import deployments_pb2
from modelyard.v1.resources_pb2 import DeploymentStatus
from tests.integration.controller.yard import ControllerUnderTest, Stubs


@pytest.fixture
async def yard(shared: ControllerUnderTest) -> AsyncIterator[Stubs]:
    async with shared.connect() as stubs:
        yield stubs


@pytest.mark.parametrize(
    ("fields", "mask", "sentence"),
    [
        ({"replicas": 1001}, ["replicas"], "replicas is 1001: wanted 0 to 1000"),
        ({"threads": 0}, ["threads"], "threads is 0: wanted 1 to 1024"),
        ({"memory_bytes": -1}, [], "memory_bytes is -1: wanted 0 to"),
        ({}, ["status"], "update_mask names status: it may name replicas, threads, memory_bytes"),
        ({"name": "models/a/b/deployments/c"}, [], "does not name a deployment"),
        ({"gpu_percent": 101}, [], "gpu_percent is 101: wanted 0 to 100"),
        ({"gpu_memory_bytes": -1}, ["gpu_memory_bytes"], "gpu_memory_bytes is -1: wanted 0 to"),
        ({"serving": {"max_batch_rows": -1}}, [], "serving.max_batch_rows is -1: wanted 0 to"),
        ({"serving": {"max_batch_wait_us": 10**9}}, ["serving"], "serving.max_batch_wait_us is 1000000000: wanted 0"),
        (
            {"serving": {"runtime": "Triton 2"}},
            [],
            "'Triton 2' is no runtime: wanted one that `modelyard node show HOST` lists",
        ),
        ({}, ["serving.speed"], "update_mask names serving.speed: it may name replicas"),
    ],
)
async def test_a_deployment_that_cannot_be_is_refused(
    yard: Stubs, fields: dict[str, Any], mask: list[str], sentence: str
) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await yard.deploy(*mask, **fields)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert sentence in (caught.value.details() or "")


async def test_an_alias_must_be_set_before_it_is_deployed(yard: Stubs) -> None:
    await yard.register("bert")
    with pytest.raises(aio.AioRpcError) as caught:
        await yard.deploy(name="models/bert/deployments/production")
    assert caught.value.code() is StatusCode.NOT_FOUND
    assert "modelyard alias set bert production" in (caught.value.details() or "")


async def make_alias(yard: Stubs, model: str) -> str:
    """The name of the deployment that can now be made."""
    await yard.set_alias(await yard.register(model), model)
    return f"models/{model}/deployments/production"


async def test_fields_that_are_not_named_stay_and_a_repeated_update_changes_nothing(yard: Stubs) -> None:
    name = await make_alias(yard, "lstm")
    await yard.deploy("replicas", "no_retries", name=name, replicas=3, no_retries=True)
    await yard.deploy(name=name, threads=2)
    deployment = await yard.deploy(name=name, threads=2)
    assert (deployment.replicas, deployment.threads, deployment.no_retries) == (3, 2, True)


async def test_a_message_in_the_mask_stands_for_its_fields_and_a_path_for_one_of_them(yard: Stubs) -> None:
    name = await make_alias(yard, "options")
    await yard.deploy("serving", name=name, serving={"max_batch_rows": 8, "max_batch_wait_us": 500})
    await yard.deploy("serving.runtime", name=name, serving={"runtime": "built-in"})
    deployment = await yard.deploy("serving.max_batch_rows", name=name, serving={"max_batch_rows": 1})
    serving = deployment.serving
    assert (serving.runtime, serving.max_batch_rows, serving.max_batch_wait_us) == ("built-in", 1, 500)
    emptied = (await yard.deploy("serving", name=name)).serving
    assert (emptied.runtime, emptied.max_batch_rows, emptied.max_batch_wait_us) == ("", 0, 0)


async def test_memory_of_a_gpu_comes_and_goes_with_its_share(yard: Stubs) -> None:
    name = await make_alias(yard, "shares")
    with pytest.raises(aio.AioRpcError) as caught:
        await yard.deploy(name=name, gpu_memory_bytes=1 << 30)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert "set gpu_percent as well, 100 for a whole GPU" in (caught.value.details() or "")
    deployment = await yard.deploy(name=name, gpu_percent=25, gpu_memory_bytes=1 << 30)
    assert (deployment.gpu_percent, deployment.gpu_memory_bytes) == (25, 1 << 30)
    deployment = await yard.deploy("gpu_percent", name=name)
    assert (deployment.gpu_percent, deployment.gpu_memory_bytes) == (0, 0)


async def test_concurrent_updates_of_different_fields_both_last(yard: Stubs) -> None:
    name = await make_alias(yard, "gpt")
    await yard.deploy(name=name)
    await asyncio.gather(yard.deploy(name=name, replicas=5), yard.deploy(name=name, threads=3))
    deployment = await yard.deployment(name)
    assert (deployment.replicas, deployment.threads) == (5, 3)


async def test_what_has_no_place_says_so_and_shows_in_every_list(yard: Stubs) -> None:
    name = await make_alias(yard, "vgg")
    status = (await yard.deploy(name=name)).status
    assert "1 of 1 replica has no place: no node is connected; start one with `modelyard agent" in status.message
    listed = await yard.deployments.ListDeployments(deployments_pb2.ListDeploymentsRequest(parent="models/vgg"))
    assert [deployment.name for deployment in listed.deployments] == [name]
    replicas = await yard.cluster.ListReplicas(deployments_pb2.ListReplicasRequest(parent=name))
    assert list(replicas.replicas) == []


async def test_no_replicas_are_a_wish_like_any_other(yard: Stubs) -> None:
    name = await make_alias(yard, "bart")
    deployment = await yard.deploy("replicas", name=name, replicas=0)
    assert (deployment.replicas, deployment.status.state) == (0, DeploymentStatus.READY)


async def test_only_allow_missing_makes_a_deployment(yard: Stubs) -> None:
    request = deployments_pb2.UpdateDeploymentRequest()
    request.deployment.name = await make_alias(yard, "t5")
    with pytest.raises(aio.AioRpcError) as caught:
        await yard.deployments.UpdateDeployment(request)
    assert caught.value.code() is StatusCode.NOT_FOUND
