"""Option values that are more than a string or a number."""

from datetime import UTC, datetime

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


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("0s", 0), ("30m", 1800), ("12H", 43200), ("30d", 2592000)])
def test_durations(text: str, seconds: int) -> None:
    assert parsing.parse_duration_s("--older-than", text) == seconds


@pytest.mark.parametrize("text", ["", "30", "-1d", "1.5h", "1y", "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="30d"):
        parsing.parse_duration_s("--older-than", text)


def test_a_time_is_local_unless_it_names_a_zone() -> None:
    assert parsing.parse_time("--at", "2026-03-01T14:30:00Z") == datetime(2026, 3, 1, 14, 30, tzinfo=UTC)
    assert parsing.parse_time("--at", "2026-03-01 14:30") == datetime(2026, 3, 1, 14, 30).astimezone()
    assert parsing.parse_time("--at", "2026-03-01") == datetime(2026, 3, 1).astimezone()


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "14:30", "0001-01-01T00:00:00+23:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="2026-03-01"):
        parsing.parse_time("--at", text)


@pytest.mark.parametrize(
    ("text", "microseconds"), [("500us", 500), ("2ms", 2000), ("0.5MS", 500), ("1s", 1_000_000), ("0", 0), ("0ms", 0)]
)
def test_short_times(text: str, microseconds: int) -> None:
    assert parsing.parse_wait_us("--batch-wait", text) == microseconds


@pytest.mark.parametrize("text", ["", "500", "-1us", "1m", "us", "1 ms x"])
def test_what_is_no_short_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="us"):
        parsing.parse_wait_us("--batch-wait", text)


@pytest.mark.parametrize(("text", "rows"), [("auto", 0), ("OFF", 1), ("2", 2), ("1048576", 1 << 20)])
def test_most_rows_of_a_batch(text: str, rows: int) -> None:
    assert parsing.parse_batch_rows("--max-batch", text) == rows


@pytest.mark.parametrize("text", ["", "0", "1", "-2", "1048577", "many", "\N{SUPERSCRIPT TWO}"])
def test_what_is_no_size_of_a_batch_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="auto or off"):
        parsing.parse_batch_rows("--max-batch", text)
