"""Values of options that are more than a string or a number."""

import re
from collections.abc import Sequence
from datetime import datetime

import typer

from modelyard import sizes

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d{1,9})([smhdw])")
_WAIT = re.compile(r"(\d{1,9}(?:\.\d+)?)(us|ms|s)?")
_MICROSECONDS = {"us": 1, "ms": 1000, "s": 1_000_000}
_MOST_ROWS = 1 << 20


def parse_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """`["a=1", "b=x=y"]` as a dictionary."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{text!r}: wanted KEY=VALUE", param_hint=option)
        if key in pairs:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint=option)
        pairs[key] = value
    return pairs


def parse_metrics(option: str, texts: Sequence[str]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for key, value in parse_pairs(option, texts).items():
        try:
            metrics[key] = float(value)
        except ValueError:
            raise typer.BadParameter(f"{key}={value}: wanted a number", param_hint=option) from None
    return metrics


def parse_size(option: str, text: str) -> int:
    """As `modelyard.sizes.parse_size`."""
    try:
        return sizes.parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def parse_duration_s(option: str, text: str) -> int:
    """Seconds of "90s", "30m", "12h", "30d" or "4w"."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r}: wanted a time such as 90s, 30m, 12h, 30d or 4w", param_hint=option)
    return int(match[1]) * _SECONDS[match[2]]


def parse_wait_us(option: str, text: str) -> int:
    """Microseconds of "500us", "2ms", "0.5ms", "1s" or "0"."""
    match = _WAIT.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r}: wanted a time such as 500us, 2ms or 0", param_hint=option)
    if match[2] is None and float(match[1]):
        raise typer.BadParameter(f"{text!r}: say of what, such as {text.strip()}us", param_hint=option)
    return round(float(match[1]) * _MICROSECONDS.get(match[2], 1))


def parse_batch_rows(option: str, text: str) -> int:
    """The most rows of a batch: a number from 2 on; "auto" is 0, and "off" is 1."""
    words = {"auto": 0, "off": 1}
    if (word := text.strip().lower()) in words:
        return words[word]
    if not word.isdecimal() or not 2 <= int(word) <= _MOST_ROWS:
        raise typer.BadParameter(f"{text!r}: wanted 2 to {_MOST_ROWS}, auto or off", param_hint=option)
    return int(word)


def parse_time(option: str, text: str) -> datetime:
    """A moment as ISO 8601 has it; in the local time zone where it names none."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r}: wanted a time such as 2026-03-01, '2026-03-01 14:30' or 2026-03-01T14:30:00Z", param_hint=option
        ) from None
