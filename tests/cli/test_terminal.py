"""What commands print at their end: plain in a pipe and with NO_COLOR, a link on a terminal."""

import io
import logging
import sys
from pathlib import Path

import pytest

from tests.reports.builders import NAMES, make_logits, make_report
from zlpr_hf.cli.log_lines import wrap_warnings
from zlpr_hf.cli.terminal import next_commands, print_log, print_report


class Terminal(io.StringIO):
    """Standard output of a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace standard output; a fixture could not, as pytest replaces it before each test."""
    found = Terminal()
    monkeypatch.setattr(sys, "stdout", found)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return found


REPORT = make_report(NAMES, *make_logits())


def test_output_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    print_report(REPORT, tmp_path / "report.html")
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert REPORT.render() in "\n".join(line.rstrip() for line in text.splitlines())
    assert str(tmp_path / "report.html") in text
    for _, command in next_commands(REPORT.output_dir):
        assert f"  {command}\n" in text


def test_terminal_gets_colours_and_a_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal = open_terminal(monkeypatch)
    print_report(REPORT, tmp_path / "report.html")
    text = terminal.getvalue()
    assert f"{(tmp_path / 'report.html').as_uri()}\x1b\\" in text
    assert "\x1b[32msaved to" in text


def test_no_color_turns_all_escapes_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    print_report(REPORT, tmp_path / "report.html")
    print_log("warning: odd")
    assert "\x1b" not in terminal.getvalue()


def test_log_keeps_blank_lines_and_long_lines(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"a [bold]\n{'x' * 200}\n\nwarning: b\n"
    print_log(text)
    assert capsys.readouterr().out == f"{text}\n"


def test_warnings_break_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    words = [f"word{number}" for number in range(30)]
    logger = logging.getLogger("zlpr_hf.data")
    with wrap_warnings():
        logger.warning("%s", " ".join(words))
    lines = terminal.getvalue().splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).split() == words
    assert not logging.getLogger("zlpr_hf").handlers
