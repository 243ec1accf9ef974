"""In which shares a GPU is offered, and why in no others."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from modelyard.errors import InvalidArgumentError
from nodeagent.devices.gpu_shares import find_mps_reason, offered_shares, parse_shares
from nodeagent.settings import AgentSettings
from tests.harness.mps import MpsStub


@dataclass(frozen=True)
class Gpu:
    compute_capability: str = "8.0"
    parent_uuid: str = ""


@dataclass(frozen=True)
class Settings:
    gpu_shares: str = ""
    mps_on_mig: bool = False


def test_a_gpu_is_given_away_whole_and_in_halves_and_quarters() -> None:
    assert offered_shares(Gpu(), Settings(), "") == ((100, 50, 25), "")


def test_settings_add_shares() -> None:
    assert offered_shares(Gpu(), Settings("75, 10,50"), "")[0] == (100, 75, 50, 25, 10)


@pytest.mark.parametrize("capability", ["7.0", "7.5", "8.6", "9.0", "10.0", "12.1"])
def test_volta_and_everything_newer_can_be_shared(capability: str) -> None:
    assert offered_shares(Gpu(capability), Settings(), "")[1] == ""


@pytest.mark.parametrize(
    ("gpu", "settings", "reason", "said"),
    [
        (Gpu(), Settings(), "the daemon does not start", "the daemon does not start"),
        (Gpu("6.1"), Settings(), "", "its compute capability is 6.1, and shares need 7.0 (Volta) or newer"),
        (Gpu(""), Settings(), "", "does not tell its compute capability"),
        (Gpu(parent_uuid="GPU-1"), Settings("10"), "", "--mps-on-mig"),
    ],
)
def test_where_it_cannot_be_shared_the_reason_is_told(gpu: Gpu, settings: Settings, reason: str, said: str) -> None:
    shares, because = offered_shares(gpu, settings, reason)
    assert shares == (100,)
    assert said in because


def test_mig_devices_are_shared_where_that_was_asked_for() -> None:
    assert offered_shares(Gpu(parent_uuid="GPU-1"), Settings(mps_on_mig=True), "") == ((100, 50, 25), "")


@pytest.mark.parametrize("text", ["0", "101", "-5", "12.5", "half", "25,,x", "٢٥%"])
def test_what_is_no_share_is_refused_with_what_is_wanted(text: str) -> None:
    with pytest.raises(ValueError, match="wanted whole percents from 1 to 100, as in 75,10"):
        parse_shares(text)


def test_settings_that_name_no_share_are_refused_at_the_start() -> None:
    with pytest.raises(InvalidArgumentError, match=r"--gpu-shares.*wanted whole percents"):
        AgentSettings.parse(["--gpu-shares", "200"])


def test_nvidias_program_is_looked_for_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "nvidia-cuda-mps-control is not on the PATH" in find_mps_reason()


def test_nvidias_program_is_found_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    MpsStub(tmp_path).use(monkeypatch)
    assert find_mps_reason() == ""
