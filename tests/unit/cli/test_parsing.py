"""Option values that are more than a string or a number."""

import pytest
import typer

from modelyard.cli import parsing


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("512MiB", 512 << 20), ("2G", 2 << 30), ("1.5 gib", 3 << 29), ("1GB", 10**9), ("1000", 1000), ("3B", 3)],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parsing.parse_size("--memory", text) == size_bytes


@pytest.mark.parametrize("text", ["", "much", "-1", "1XB", "1Mi B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="512MiB"):
        parsing.parse_size("--memory", text)


def test_pairs() -> None:
    assert parsing.parse_pairs("--tag", ["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert parsing.parse_metrics("--metric", ["top1=0.76", "loss=1e-3"]) == {"top1": 0.76, "loss": 0.001}


@pytest.mark.parametrize("texts", [["a"], ["=1"], ["a=1", "a=2"]])
def test_what_is_no_pair_is_refused(texts: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        parsing.parse_pairs("--tag", texts)


def test_a_metric_is_a_number() -> None:
    with pytest.raises(typer.BadParameter, match="wanted a number"):
        parsing.parse_metrics("--metric", ["top1=good"])
