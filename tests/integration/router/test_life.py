"""Start and end of a router: nothing is left, and nothing is shared by accident."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import psutil
import pytest
from tritonclient.grpc import service_pb2


async def test_a_stopped_router_leaves_nothing(router: Any, controller: Any, backends: Any, load: Any) -> None:
    (backend,) = await backends("one")
    await router.start()
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    (envoy,) = router.envoys
    async with load(router.address, [service_pb2.ModelInferRequest(model_name="m")]):
        pass
    assert await router.stop() == 0
    # By its command line: psutil calls a process running until whoever inherited it from the router has waited for it.
    assert envoy not in router.envoys
    assert sorted(path.name for path in router.data.iterdir()) == ["envoy.log", "route_table.binpb", "router.lock"]


async def test_requests_in_flight_end_before_the_router_does(
    router: Any, controller: Any, backends: Any, stub_of: Any, wait_for: Any
) -> None:
    (backend,) = await backends("one")
    backend.delay_s = 1.0
    await router.start()
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    async with stub_of(router.address) as stub:
        call = stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"))
        await wait_for(lambda: backend.counts["ModelInfer"])
        assert await router.stop() == 0
        assert (await call).id == "one"


async def test_sockets_go_elsewhere_where_the_path_of_the_data_is_long(
    tmp_path: Path, make_router: Any, controller: Any, backends: Any, stub_of: Any
) -> None:
    router = make_router(tmp_path / ("long" * 40))
    (backend,) = await backends("one")
    await router.start()
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    async with stub_of(router.address) as stub:
        assert (await stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"))).id == "one"
    (envoy,) = router.envoys
    folder = _config_of(envoy).parent
    assert folder.stat().st_mode & 0o077 == 0
    await router.stop()
    assert not folder.exists()


async def test_a_second_router_on_the_same_data_is_refused(
    running_router: Any, make_router: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        await make_router(running_router.data).start()
    assert f"process {running_router.process.pid}" in capfd.readouterr().err


async def test_a_listening_address_that_changes_is_followed(
    router: Any, controller: Any, backends: Any, stub_of: Any
) -> None:
    """The Envoy of the killed router listens where nobody wants it any more."""
    (backend,) = await backends("one")
    await router.start()
    first = router.address
    await router.kill()
    await router.start(listen="127.0.0.2:0")
    assert router.address != first
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    async with stub_of(router.address) as stub:
        assert (await stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"))).id == "one"


@pytest.mark.slow
async def test_an_envoy_that_hangs_is_replaced(router: Any, controller: Any, wait_for: Any) -> None:
    await router.start()
    (hanging,) = router.envoys
    await router.kill()
    hanging.suspend()
    await router.start()
    await wait_for(lambda: hanging not in router.envoys)
    assert len(router.envoys) == 1


async def test_a_router_killed_at_any_moment_of_its_start_leaves_no_second_envoy(
    router: Any, controller: Any, backends: Any, stub_of: Any, wait_for: Any
) -> None:
    (backend,) = await backends("one")
    controller.set_table(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    for kill_after_s in (0.0, 0.002, 0.02, 0.2):
        starting = asyncio.create_task(router.start())
        await wait_for(lambda: router.envoys)
        await asyncio.sleep(kill_after_s)
        await router.kill()
        with contextlib.suppress(AssertionError):  # it had no time to say that it is ready
            await starting
    (left,) = router.envoys
    await router.start()
    assert router.envoys == [left]
    await wait_for(lambda: controller.status.applied_version == 1)
    async with stub_of(router.address) as stub:
        assert (await stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"))).id == "one"


@pytest.mark.parametrize("content", [None, "{"])
async def test_an_envoy_whose_file_is_lost_or_damaged_is_replaced_on_its_port(
    router: Any, controller: Any, backends: Any, load: Any, content: str | None
) -> None:
    (backend,) = await backends("one")
    await router.start()
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    (before,) = router.envoys
    config = _config_of(before)
    async with load(router.address, [service_pb2.ModelInferRequest(model_name="m")]) as running:
        await router.kill()
        config.unlink() if content is None else config.write_text(content)
        await router.start(listen=router.address)
        await running.wait_for(lambda: before not in router.envoys)
        await running.reach(running.total + 100)
    assert running.errors == []
    assert len(router.envoys) == 1


@pytest.mark.slow
async def test_an_envoy_that_was_drained_is_not_taken_for_one_that_serves(
    router: Any, controller: Any, backends: Any, stub_of: Any, wait_for: Any
) -> None:
    """The router is killed while it waits for the last requests: the listener closes all the same."""
    (backend,) = await backends("one")
    await router.start()
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    (before,) = router.envoys
    config = _config_of(before)
    async with stub_of(router.address) as stub:
        backend.delay_s = 1.0
        call = stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"))
        await wait_for(lambda: backend.counts["ModelInfer"])
        router.process.terminate()
        await wait_for(lambda: not config.exists())
        with contextlib.suppress(ProcessLookupError):  # it has ended already where this process got no CPU meanwhile
            await router.kill()
        await router.start(listen=router.address)
        assert (await call).id == "one"
    await wait_for(lambda: before not in router.envoys)
    backend.delay_s = 0.0
    async with stub_of(router.address) as stub:
        assert (await stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"))).id == "one"


async def test_what_dead_envoys_left_is_removed(router: Any) -> None:
    await router.start()
    (envoy,) = router.envoys
    config = _config_of(envoy)
    await router.kill()
    envoy.kill()
    await router.start(listen=router.address)
    assert not config.exists()
    await router.stop()
    assert not config.parent.exists()


@pytest.mark.parametrize(
    ("endpoints", "error"),
    [
        ([("no address", 1, 1)], "'no address' is not an IP address"),
        # An address as Python has it, but of an interface that only Envoy finds missing.
        ([("fe80::1%nowhere", 1, 1)], "Envoy refused the ClusterLoadAssignment of route table 2"),
    ],
)
async def test_a_table_that_is_refused_leaves_the_last_one_in_force(
    *, running_router: Any, controller: Any, backends: Any, load: Any, endpoints: Any, error: str
) -> None:
    (backend,) = await backends("one")
    await controller.apply(1, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
    async with load(running_router.address, [service_pb2.ModelInferRequest(model_name="m")]) as running:
        bad = {"m/production@1": endpoints, "n/production@2": [backend]}
        controller.set_table(2, pools=bad, routes={"m": "m/production@1", "n": "n/production@2"})
        await running.wait_for(lambda: controller.status.error)
        assert controller.status.applied_version == 1
        assert error in controller.status.error
        await running.reach(running.total + 100)
        await controller.apply(3, pools={"m/production@1": [backend]}, routes={"m": "m/production@1"})
        assert controller.status.error == ""
    assert running.errors == []


async def test_an_envoy_that_cannot_be_run_is_told_and_leaves_nothing(
    router: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    for binary, sentence in ((__file__, "cannot run Envoy"), ("/bin/false", "Envoy ended during its start")):
        router.arguments = ("--envoy", binary)
        with pytest.raises(AssertionError):
            await router.start()
        assert sentence in capfd.readouterr().err
        assert sorted(path.name for path in router.data.iterdir()) == ["envoy.log", "router.lock"]


def _config_of(envoy: psutil.Process) -> Path:
    return Path(envoy.cmdline()[2])
