"""Formats of numbers and words in a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

NOTHING = "–"
"""Placeholder of a missing number."""

ACRONYMS = ("psnr", "ssim")
"""Metrics whose names are written in capitals."""

WHOLE = 1000
"""Least value without a unit that is written without decimals."""


@dataclass(frozen=True)
class Scale:
    """The format of a metric's values: accuracies in percent, PSNR in dB, others unchanged.

    Args:
        metric: Name of the metric.
        predicted: True if a surrogate predicts it.
    """

    metric: str
    predicted: bool = False

    @property
    def factor(self) -> float:
        """Factor of values when they are shown."""
        return 100.0 if "accuracy" in self.metric else 1.0

    @property
    def unit(self) -> str:
        """Unit of shown values with a space before it; empty if there is none."""
        return " %" if "accuracy" in self.metric else " dB" if self.metric == "psnr" else ""

    @property
    def difference_unit(self) -> str:
        """Unit of shown differences."""
        return " points" if "accuracy" in self.metric else self.unit

    @property
    def name(self) -> str:
        """Name of the metric in a sentence."""
        plain = self.metric.upper() if self.metric in ACRONYMS else self.metric.replace("_", " ")
        return f"predicted validation {plain}" if self.predicted else plain

    @property
    def label(self) -> str:
        """Name and unit, for axes and table heads."""
        return f"{self.name},{self.unit}" if self.unit else self.name

    def show(self, value: float | None) -> str:
        """Format a value without its unit."""
        if value is None:
            return NOTHING
        shown = self.factor * value
        if self.unit:
            return minus(f"{shown:.2f}")
        return minus(f"{shown:,.0f}" if abs(shown) >= WHOLE else f"{shown:#.4g}".rstrip("."))

    def signed(self, value: float | None) -> str:
        """Format a difference with its sign, without its unit."""
        text = self.show(value)
        return f"+{text}" if value is not None and value > 0 else text


def minus(text: str) -> str:
    """Replace the hyphen of a formatted number by a minus sign, and remove it from zero."""
    if text.startswith("-"):
        return "−" + text[1:] if text.strip("-0.") else text[1:]
    return text


def coefficient(value: float | None) -> str:
    """Format a correlation or an effect size."""
    return NOTHING if value is None else minus(f"{value:.2f}")


def probability(value: float | None) -> str:
    """Format a p value."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(low: str, high: str) -> str:
    """Join the formatted ends of an interval; return a dash if one is missing."""
    return NOTHING if NOTHING in (low, high) else f"{low} to {high}"


def percent(share: float | None) -> str:
    """Format a share between 0 and 1 as a whole percentage."""
    return NOTHING if share is None else f"{100 * share:.0f} %"


def count(number: int, thing: str) -> str:
    """Format a number of things, such as `1 run` or `2 searches`."""
    plural = "es" if thing.endswith("ch") else "s"
    return f"{number} {thing}" if number == 1 else f"{number} {thing}{plural}"


def cell_name(kind: str) -> str:
    """Return the name of a kind of cell for a sentence, such as `normal cell`."""
    return kind if kind == "cell" else f"{kind.replace('_', ' ')} cell"


def listed(names: list[str]) -> str:
    """Join names for a sentence, such as `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def gathered(notes: Iterable[tuple[str, str | None]]) -> str:
    """Join notes on the rows of a table, each once: `a and b: too few runs.`, for example.

    Args:
        notes: What each row is about, and its note; a row without one has `None` or no text.
    """
    rows = list(notes)
    about: dict[str, list[str]] = {}
    for name, note in rows:
        if note:
            about.setdefault(note, []).append(name)
    return " ".join(
        f"{'All' if len(names) == len(rows) > 1 else listed(names)}: {note}."
        for note, names in about.items()
    )
