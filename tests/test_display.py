"""Bars and lines of programs that loop by themselves: studies and benches."""

import io
import sys

import pytest

from nas_lightning.display import Bar, Display, is_terminal


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_only_lines_are_written() -> None:
    stream = io.StringIO()
    with Display(stream) as display:
        display.show(Bar(["one of two"], [""], 1, 2))
        display.line("a line")
    assert stream.getvalue() == "a line\n"


def test_in_a_terminal_lines_stay_and_the_bar_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    before = sys.stdout
    with Display(stream) as display:
        display.show(Bar(["one of two"], [""], 1, 2))
        drawn = stream.getvalue()
        assert "one of two" in drawn
        assert drawn.count("━") >= 20
        display.line("x" * 100)
    assert sys.stdout is before
    assert stream.getvalue().count("x" * 100) == 1  # not broken: a terminal wraps it itself
    # removed: the last thing that is written clears the line of the bar
    assert stream.getvalue().rpartition("one of two")[2].count("\x1b[2K") >= 1


@pytest.mark.parametrize("name", ["", "dumb"])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", name)
    assert not is_terminal(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert is_terminal(Terminal())
    assert not is_terminal(io.StringIO())
    closed = io.StringIO()
    closed.close()
    assert not is_terminal(closed)
