"""How numbers are written in a report."""

from __future__ import annotations

from dataclasses import dataclass

NOTHING = "–"
"""Stands where there is no number."""

ACRONYMS = ("psnr", "ssim")
"""Metrics whose names are written in capitals."""

WHOLE = 1000
"""From here on values without a unit are written without digits behind the point."""


@dataclass(frozen=True)
class Scale:
    """How values of a metric are written: accuracies in percent, PSNR in dB, others as they are.

    Args:
        metric: Name of the metric.
    """

    metric: str

    @property
    def factor(self) -> float:
        """What values are multiplied by before they are shown."""
        return 100.0 if "accuracy" in self.metric else 1.0

    @property
    def unit(self) -> str:
        """Unit of shown values, with a space before it where one belongs."""
        return " %" if "accuracy" in self.metric else " dB" if self.metric == "psnr" else ""

    @property
    def difference_unit(self) -> str:
        """Unit of differences between values."""
        return " points" if "accuracy" in self.metric else self.unit

    @property
    def name(self) -> str:
        """Name of the metric in a sentence."""
        return self.metric.upper() if self.metric in ACRONYMS else self.metric.replace("_", " ")

    @property
    def label(self) -> str:
        """Name and unit, for axes and heads of tables."""
        return f"{self.name},{self.unit}" if self.unit else self.name

    def show(self, value: float | None) -> str:
        """A value without its unit."""
        if value is None:
            return NOTHING
        shown = self.factor * value
        if self.unit:
            return minus(f"{shown:.2f}")
        return minus(f"{shown:,.0f}" if abs(shown) >= WHOLE else f"{shown:#.4g}".rstrip("."))

    def signed(self, value: float | None) -> str:
        """A difference without its unit, with its sign."""
        text = self.show(value)
        return f"+{text}" if value is not None and value > 0 else text


def minus(text: str) -> str:
    """The text of a number with a true minus sign, and without one before zero."""
    if text.startswith("-"):
        return "−" + text[1:] if text.strip("-0.") else text[1:]
    return text


def coefficient(value: float | None) -> str:
    """A correlation or an effect size."""
    return NOTHING if value is None else minus(f"{value:.2f}")


def probability(value: float | None) -> str:
    """A p value."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(low: str, high: str) -> str:
    """Both ends of an interval that are already written; a dash if there is none."""
    return NOTHING if NOTHING in (low, high) else f"{low} to {high}"


def percent(share: float | None) -> str:
    """A share of one as a whole percentage."""
    return NOTHING if share is None else f"{100 * share:.0f} %"


def count(number: int, thing: str) -> str:
    """A number of things, such as `1 run` and `2 searches`."""
    plural = "es" if thing.endswith("ch") else "s"
    return f"{number} {thing}" if number == 1 else f"{number} {thing}{plural}"


def cell_name(kind: str) -> str:
    """A kind of cell in a sentence, such as `normal cell`."""
    return kind if kind == "cell" else f"{kind.replace('_', ' ')} cell"


def listed(names: list[str]) -> str:
    """Names in a sentence, such as `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
