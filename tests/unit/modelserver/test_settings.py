"""The flags."""

from pathlib import Path

import pytest

from nodeagent.modelserver.settings import ServerSettings

NEEDED = ["--model", "resnet", "--version", "3", "--file", "m.onnx"]


def test_three_flags_are_enough() -> None:
    settings = ServerSettings.load(NEEDED)
    assert (settings.model, settings.version, settings.file) == ("resnet", 3, Path("m.onnx"))
    assert (settings.host, settings.port, settings.threads, settings.device) == ("127.0.0.1", 0, 1, "cpu")


def test_a_signature_is_told_key_by_key_in_order() -> None:
    settings = ServerSettings.load([*NEEDED, "--input", "b, with a comma", "--input", "a", "--output", "y"])
    assert (settings.inputs, settings.outputs) == (("b, with a comma", "a"), ("y",))
    assert ServerSettings.load(NEEDED).outputs == ()


def test_the_canary_token_comes_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServerSettings.load(NEEDED).canary_token == ""
    monkeypatch.setenv("MODELYARD_CANARY_TOKEN", "s3cret")
    settings = ServerSettings.load(NEEDED)
    assert settings.canary_token == "s3cret" and "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--model", "../x"], "cannot be the name of a model"),
        (["--version", "0"], "not a whole number of 1 or more"),
        (["--version", "eu"], "not a whole number"),
        (["--threads", "-1"], "not a whole number"),
        (["--port", "65536"], "not a port"),
        (["--metrics-port", "-1"], "not a port"),
        (["--max-batch-rows", "many"], "not a whole number of 0 or more"),
        (["--device", "tpu"], "invalid choice"),
        (["--max-message-bytes", str(2**31)], "more than gRPC can carry"),
        (["--drain-timeout-s", "nan"], "not a number of seconds"),
        (["--drain-timeout", "3"], "unrecognized"),
    ],
)
def test_wrong_flags_are_told(flags: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ServerSettings.load([*NEEDED, *flags])
    assert caught.value.code == 2
    assert text in capsys.readouterr().err
