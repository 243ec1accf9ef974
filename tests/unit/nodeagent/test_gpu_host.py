"""From the settings to the GPUs that are offered."""

import logging
from collections.abc import Callable

import pytest

from nodeagent.devices.gpu_host import find_gpus
from nodeagent.devices.gpus import GpuLibrary, GpuLibraryError
from nodeagent.devices.nvml_errors import explain_call, explain_start
from tests.unit.nodeagent.gpu_pieces import GPU, OTHER, PlayedLibrary


def refuse(error: GpuLibraryError) -> Callable[[], GpuLibrary]:
    def open_library() -> GpuLibrary:
        raise error

    return open_library


def test_none_does_not_even_look() -> None:
    host = find_gpus("none", open_library=refuse(GpuLibraryError("touched")))
    assert (host.selection.gpus, host.conditions(), host.selection.message) == (
        (),
        (),
        "its agent was started with --gpus none",
    )
    host.close()


@pytest.mark.parametrize(
    ("code", "level", "words"),
    [
        (12, logging.INFO, "libnvidia-ml.so.1 is not here"),
        (9, logging.INFO, "NVIDIA's driver is not loaded; load it"),
        (18, logging.WARNING, "of different versions; reboot the host"),
        (4, logging.WARNING, "may not open /dev/nvidia*; run it as a user that may"),
        (13, logging.WARNING, "NVIDIA's driver is too old"),
        (15, logging.WARNING, "it has fallen off the bus"),
        (999, logging.WARNING, "NVIDIA's driver does not work: Unknown Error"),
    ],
)
def test_without_a_driver_that_works_it_is_a_cpu_node_and_says_why_once(
    caplog: pytest.LogCaptureFixture, code: int, level: int, words: str
) -> None:
    caplog.set_level(logging.INFO)
    host = find_gpus("all", open_library=refuse(explain_start(code, "Unknown Error")))
    assert host.selection.gpus == ()
    assert words in host.selection.message
    assert [record.levelno for record in caplog.records] == [level]


def test_a_gpu_that_is_named_and_cannot_be_had_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"--gpus names 0, and no GPU can be used: .* is not here"):
        find_gpus("0", open_library=refuse(explain_start(12, "")))


def test_those_that_are_offered_are_watched_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    library = PlayedLibrary(GPU, OTHER)
    host = find_gpus("all", open_library=lambda: library)
    assert host.selection.gpus == (OTHER,)
    assert [condition.uuid for condition in host.conditions()] == ["GPU-aa22"]
    host.close()
    assert library.closed.is_set()


def test_an_error_of_one_gpu_says_what_to_do() -> None:
    assert "reset" in str(explain_call(16, "GPU requires restart"))
    assert str(explain_call(999, "Unknown Error")) == "its driver says: Unknown Error"
