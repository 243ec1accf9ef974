"""What `modelyard logs` lets through to a terminal."""

import io
import sys

import pytest

from modelyard.cli import logs


class Terminal(io.TextIOWrapper):
    def __init__(self, is_terminal: bool) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding="utf-8")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def print_chunks(monkeypatch: pytest.MonkeyPatch, *chunks: bytes, is_terminal: bool) -> bytes:
    terminal = Terminal(is_terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    write = logs._make_writer()
    for chunk in chunks:
        write(chunk)
    return terminal.bytes.getvalue()


def test_a_file_gets_every_byte_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said = bytes(range(256))
    assert print_chunks(monkeypatch, said[:100], said[100:], is_terminal=False) == said


def test_a_terminal_gets_nothing_that_steers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = b"\x1b[2Jcleared\r\nbell\x07 \xff\n\ttab"
    assert print_chunks(monkeypatch, said, is_terminal=True) == b"\\x1b[2Jcleared\\r\nbell\\x07 \xef\xbf\xbd\n\ttab"


def test_a_character_that_is_cut_by_two_pieces_is_whole_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "é".encode()
    assert print_chunks(monkeypatch, said[:1], said[1:], is_terminal=True) == said
