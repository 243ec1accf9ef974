"""A real agent on a host whose GPUs the test plays."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.v1 import resources_pb2
from tests.harness.nvml import NvmlStub, StubProcess, a_gpu, a_gpu_in_mig_mode
from tests.harness.programs import wait_for
from tests.integration.nodeagent.conftest import PATIENT, StartAgent
from tests.integration.nodeagent.stand_in import StandInController

GPU_IS_LOST = 15


def condition(controller: StandInController, uuid: str) -> resources_pb2.GpuCondition:
    """As in the newest report."""
    return next(gpu for gpu in controller.reports[-1].gpus if gpu.uuid == uuid)


def wait_fault(controller: StandInController, uuid: str, words: str) -> None:
    wait_for(lambda: words in condition(controller, uuid).fault, f"a fault of {uuid}: {words}")


def test_gpus_and_mig_devices_are_told_with_the_first_message(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = replace(a_gpu(0), utilization_percent=61, used_bytes=3 << 30, processes=(StubProcess(4711, 3 << 30, 55),))
    stub = NvmlStub(tmp_path, busy, a_gpu_in_mig_mode(1))
    stub.use(monkeypatch)
    start_agent()
    hello = controller.hellos[0]
    gpus = hello.resources.gpus
    assert [gpu.uuid for gpu in gpus] == [busy.uuid, *(mig.uuid for mig in stub.gpus[1].migs)]
    assert [gpu.parent_uuid for gpu in gpus] == ["", stub.gpus[1].uuid, stub.gpus[1].uuid]
    assert (gpus[0].hardware_class, gpus[0].memory_bytes) == ("NVIDIA A100-SXM4-40GB", 40 << 30)
    assert (gpus[0].compute_capability, gpus[0].pci_bus_id) == ("8.0", "00000000:3B:00.0")
    assert gpus[1].hardware_class == "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    assert all(100 in gpu.shares for gpu in gpus)
    assert (hello.resources.gpu_message, hello.resources.driver_version) == ("", "550.54.14")
    first = resources_pb2.GpuCondition(uuid=busy.uuid, utilization_percent=61, memory_used_bytes=3 << 30, processes=1)
    assert hello.observed.gpus[0] == first


def test_a_fatal_xid_takes_one_gpu_out_of_service_at_once_and_leaves_the_other(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1))
    stub.use(monkeypatch)
    start_agent()
    broken, sound = stub.gpus
    stub.raise_xid(sound.uuid, 31)
    stub.raise_xid(broken.uuid, 79)
    wait_fault(controller, broken.uuid, "XID 79: it has fallen off the bus")
    assert condition(controller, sound.uuid).fault == ""
    log = (tmp_path / "agent.log").read_text()
    assert "XID 31: a process touched memory that is not its own (a process's fault)" in log


def test_an_xid_of_one_mig_device_leaves_the_other_in_service(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu_in_mig_mode(0))
    stub.use(monkeypatch)
    start_agent()
    gpu = stub.gpus[0]
    stub.raise_xid(gpu.uuid, 95, gpu.migs[1].gpu_instance, 0)
    wait_fault(controller, gpu.migs[1].uuid, "XID 95")
    assert condition(controller, gpu.migs[0].uuid).fault == ""


def test_a_double_bit_error_and_a_gpu_that_is_lost_are_faults(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1), a_gpu(2))
    stub.use(monkeypatch)
    start_agent()
    flipped, lost, sound = stub.gpus
    stub.raise_double_bit_ecc(flipped.uuid)
    wait_fault(controller, flipped.uuid, "double-bit ECC")
    stub.set_gpus(flipped, replace(lost, fails=GPU_IS_LOST), replace(sound, utilization_percent=9))
    wait_fault(controller, lost.uuid, "it has fallen off the bus")
    wait_for(lambda: condition(controller, sound.uuid).utilization_percent == 9, "a new reading of the third")
    # The events of the others are still followed.
    stub.raise_xid(sound.uuid, 62)
    wait_fault(controller, sound.uuid, "XID 62")


def test_a_fault_outlives_an_agent_that_is_killed_and_not_one_that_is_told_to_stop(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1))
    stub.use(monkeypatch)
    broken, sound = stub.gpus
    killed = start_agent()
    stub.raise_xid(broken.uuid, 62)
    wait_fault(controller, broken.uuid, "XID 62")
    record = tmp_path / "data" / "gpu-faults.json"
    wait_for(record.exists, "the record of the fault")
    killed.kill()
    stopped = start_agent()
    assert {gpu.uuid: gpu.fault[:7] for gpu in controller.hellos[1].observed.gpus} == {
        broken.uuid: "XID 62:",
        sound.uuid: "",
    }
    assert stopped.stop() == 0
    assert not record.exists()
    start_agent()
    assert [gpu.fault for gpu in controller.hellos[2].observed.gpus] == ["", ""]


def test_a_gpu_that_no_process_may_use_is_out_of_service_until_that_is_changed(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, replace(a_gpu(0), compute_mode=2))
    stub.use(monkeypatch)
    start_agent()
    assert controller.hellos[0].observed.gpus[0].fault.startswith("its compute mode is Prohibited")
    stub.set_gpus(a_gpu(0))
    wait_for(lambda: condition(controller, stub.gpus[0].uuid).fault == "", "the GPU in service")


def test_an_xid_that_the_settings_ignore_is_logged_only(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0))
    stub.use(monkeypatch)
    start_agent("--ignored-xids", "74,62")
    stub.raise_xid(stub.gpus[0].uuid, 74)
    stub.raise_xid(stub.gpus[0].uuid, 79)
    wait_fault(controller, stub.gpus[0].uuid, "XID 79")
    assert "XID 74" in (tmp_path / "agent.log").read_text()


@pytest.mark.slow
def test_a_driver_that_hangs_holds_up_neither_the_reports_nor_the_end(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0))
    stub.use(monkeypatch)
    agent = start_agent()
    stub.set_gpus(*stub.gpus, hang=True)
    seen = len(controller.reports)
    wait_for(lambda: len(controller.reports) >= seen + 2, "two more reports")
    assert agent.stop() == 0
    assert "NVIDIA's driver does not answer; it is left as it is" in agent.log_tail()


def test_at_its_end_the_agent_gives_back_what_it_took_of_the_driver(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0))
    stub.use(monkeypatch)
    agent = start_agent(program=PATIENT)  # the agent itself waits for three seconds
    assert agent.stop() == 0
    assert stub.calls(agent.pid) == ["init", "create event set", "free event set", "shutdown"]


def test_without_a_driver_it_is_a_cpu_node_and_says_so_once(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path)
    stub.set_gpus(a_gpu(0), init=9)
    stub.use(monkeypatch)
    start_agent()
    resources = controller.hellos[0].resources
    assert not resources.gpus
    assert resources.gpu_message.startswith("NVIDIA's driver is not loaded")
    assert resources.cores
    assert (tmp_path / "agent.log").read_text().count("NVIDIA's driver is not loaded") == 1


def test_gpus_can_be_left_to_others(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0), a_gpu(1))
    stub.use(monkeypatch)
    start_agent("--gpus", "1").stop()
    assert [gpu.uuid for gpu in controller.hellos[0].resources.gpus] == [stub.gpus[1].uuid]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    start_agent().stop()
    assert [gpu.uuid for gpu in controller.hellos[1].resources.gpus] == [stub.gpus[0].uuid]
    assert controller.hellos[1].resources.gpu_message == "CUDA_VISIBLE_DEVICES of the agent hides 1 of 2 GPUs"
    start_agent("--gpus", "none").stop()
    assert not controller.hellos[2].resources.gpus


def test_a_gpu_that_is_not_there_ends_the_agent_with_a_list_of_those_that_are(
    controller: StandInController, start_agent: StartAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = NvmlStub(tmp_path, a_gpu(0))
    stub.use(monkeypatch)
    with pytest.raises(RuntimeError, match=r"--gpus names 3, which is not here: there are 0 \(GPU-0000"):
        start_agent("--gpus", "3")
    assert stub.calls() == ["init", "shutdown"]
