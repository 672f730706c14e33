"""The look of progress in a terminal: a line with a bar, and a line of values below it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

GAP = 2
"""Blanks between two parts of a line."""
SHORTEST, LONGEST = 10, 40
"""Columns of a bar; with less room there is none."""
MARGIN = 5
"""Columns that stay free at the end of a line: `^C`, which a terminal echoes, must not wrap."""
DIM = "dim"


def is_terminal(stream: TextIO | None = None) -> bool:
    """Return True if a stream, by default standard output, can move the cursor of a terminal."""
    try:
        here = (stream or sys.stdout).isatty()
        return here and os.environ.get("TERM", "") not in ("", "dumb")
    except (AttributeError, ValueError):  # no standard output, or one that is closed
        return False


def clock(seconds: float) -> str:
    """Return a time as `0:07`, `12:34`, `1:02:03` or `2 d 1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if not hours:
        return f"{minute}:{second:02d}"
    return (f"{days} d " if days else "") + f"{hour}:{minute:02d}:{second:02d}"


def elapsed(seconds: float) -> str:
    """Return a time that has passed, with a tenth of a second below a minute."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def that_fit(parts: Sequence[str], width: int) -> str:
    """Join the first parts that fit into a width; the first is always among them."""
    text = parts[0] if parts else ""
    for part in parts[1:]:
        if len(text) + GAP + len(part) > width:
            break
        text += GAP * " " + part
    return text


@dataclass(frozen=True)
class Bar:
    """A line with a bar, and below it a line of values.

    Args:
        left: Texts before the bar, from the longest to the shortest; one is shown.
        right: Texts after the bar, likewise.
        done: Number of steps that are done.
        total: Number of all steps; `None` if it is not known.
        values: Values below the bar, the most important first; those without room are left out.
    """

    left: Sequence[str]
    right: Sequence[str]
    done: float
    total: float | None
    values: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        width = options.max_width
        left, right, room = self._choose(width)
        row: list[Text | ProgressBar] = [Text(left, no_wrap=True)]
        if room:
            row.append(ProgressBar(self.total, self.done, width=room, pulse=self.total is None))
        row.append(Text(right, style=DIM, no_wrap=True))
        line = Table.grid(padding=(0, GAP, 0, 0))
        line.add_row(*row)
        yield line
        if self.values:
            yield Text("  " + that_fit(self.values, width - 2), no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Take the whole width but for the margin."""
        return Measurement(1, max(options.max_width - MARGIN, 1))

    def _choose(self, width: int) -> tuple[str, str, int]:
        """Return the longest texts that leave room for a bar, and the length of the bar."""
        pairs = list(self._pairs())
        for left, right in pairs:
            room = width - len(left) - len(right) - 2 * GAP
            if room >= SHORTEST:
                return left, right, min(room, LONGEST)
        for left, right in pairs:
            if len(left) + GAP + len(right) <= width:
                return left, right, 0
        return self.left[-1], "", 0

    def _pairs(self) -> Iterator[tuple[str, str]]:
        """Yield pairs of texts, the longest first; the left text is shortened last."""
        for (_, left), (_, right) in sorted(
            product(enumerate(self.left), enumerate(self.right)),
            key=lambda pair: (max(pair[0][0], pair[1][0]), pair[0][0]),
        ):
            yield left, right


class Display:
    """A bar that changes in place in a terminal, with lines above it; elsewhere only the lines.

    Nothing is drawn between two calls, so that measurements are not disturbed. Use it in a `with`
    statement, whose end removes the bar.

    Args:
        stream: Where to write; by default standard output.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.terminal = is_terminal(stream)
        self._live = Live(
            console=Console(file=stream),
            auto_refresh=False,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._live.stop()

    def line(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        if self.terminal:
            self._live.console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def show(self, bar: Bar) -> None:
        """Draw the bar, in a terminal."""
        if self.terminal:
            self._live.start()
            self._live.update(bar, refresh=True)


def _plain_streams() -> None:
    """Give a forked process the streams themselves: the lock of a console may be held."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        setattr(sys, name, getattr(stream, "rich_proxied_file", stream))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_plain_streams)
