from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from modelyard.addresses import parse_address
from modelyard.config import Address, ProgramSettings, Size, program_config, read_config
from modelyard.errors import InvalidArgumentError


class Settings(ProgramSettings):
    program: ClassVar[str] = "agent"
    model_config = program_config("agent")
    cores: int = Field(1, ge=1)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "yard.toml"
    file.write_text("[agent]\ncores = 2\nlog-level = 'debug'\n[router]\nlisten = 'x'\n")
    assert Settings.load(["--config", str(file)]).cores == 2
    assert Settings.load([f"--config={file}"]).log_level == "debug"
    monkeypatch.setenv("MODELYARD_AGENT_CORES", "3")
    assert Settings.load(["--config", str(file)]).cores == 3
    assert Settings.load(["--config", str(file), "--cores", "4"]).cores == 4
    monkeypatch.setenv("MODELYARD_AGENT_CONFIG", str(file))
    assert Settings.load([]).log_level == "debug"
    monkeypatch.delenv("MODELYARD_AGENT_CONFIG")
    assert Settings.load([]).log_level == "info"


@pytest.mark.parametrize(
    ("text", "words"),
    [("[controler]", "'controler' is no table"), ("agent = 1", "'agent' is no table"), ("[agent", "not TOML")],
)
def test_a_file_that_no_yard_has_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "yard.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgumentError, match=f"yard.toml.*{words}"):
        read_config(file)
    with pytest.raises(InvalidArgumentError, match=r"cannot read .*nowhere"):
        read_config(tmp_path / "nowhere")


def refused(capsys: pytest.CaptureFixture[str], settings: type[ProgramSettings], *arguments: str) -> str:
    """What is said on standard error."""
    with pytest.raises(SystemExit) as caught:
        settings.load([*arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_wrong_settings_are_told_where_they_were_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "yard.toml"
    file.write_text("[agent]\ncorez = 2\n")
    assert "corez in [agent]" in refused(capsys, Settings, "--config", str(file))
    assert "--cores: Input should be greater" in refused(capsys, Settings, "--cores", "0")


def test_what_a_check_of_our_own_says_is_told_in_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    class WithAddress(Settings):
        controller: Address = "127.0.0.1:8010"

    assert "--controller: '10.0.0.1'" in refused(capsys, WithAddress, "--controller", "10.0.0.1")


def test_sizes_may_have_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class WithSize(Settings):
        memory_bytes: Size | None = Field(None, gt=0)

    file = tmp_path / "yard.toml"
    file.write_text("[agent]\nmemory-bytes = '2GiB'\n")
    assert WithSize.load(["--config", str(file)]).memory_bytes == 2 << 30
    assert WithSize.load(["--memory-bytes", "4MiB"]).memory_bytes == 4 << 20
    assert WithSize.load(["--memory-bytes", "4096"]).memory_bytes == 4096
    assert "--memory-bytes: 'much': wanted a size such as" in refused(capsys, WithSize, "--memory-bytes", "much")
    assert "--memory-bytes: Input should be greater" in refused(capsys, WithSize, "--memory-bytes", "0")


@pytest.mark.parametrize("text", ["8001", "host:", ":80", "host:70000", "host:x", ""])
def test_an_address_needs_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


def test_an_address_of_ipv6_has_brackets() -> None:
    assert parse_address("[::1]:80") == ("::1", 80)
