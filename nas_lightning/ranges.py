"""Ranges of constructor arguments, checked with one message for all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from nas_lightning.errors import UsageError
from nas_lightning.text import shown

LARGEST = 1e30
"""Largest number: squares of larger ones overflow in single precision."""
MOST = 10**9
"""Largest whole number, unless a range has another bound."""


@dataclass(frozen=True)
class Range:
    """The numbers that an argument may have; never nan, infinite, or true and false.

    Attributes:
        low: Smallest value.
        high: Largest value.
        above: True if `low` itself is excluded.
        below: True if `high` itself is excluded.
        whole: True for whole numbers only.
    """

    low: float = 0
    high: float = LARGEST
    above: bool = False
    below: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        """Return True if a value is allowed."""
        kind = Integral if self.whole else Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        number: Any = value
        over = number > self.low if self.above else number >= self.low
        under = number < self.high if self.below else number <= self.high
        return bool(over and under)

    def __str__(self) -> str:
        """Return a text such as `above 0 and at most 1`."""
        low = f"{'above' if self.above else 'at least'} {_number(self.low)}"
        high = f"{'below' if self.below else 'at most'} {_number(self.high)}"
        return low if self.high in (LARGEST, MOST) else f"{low} and {high}"

    def why_not(self, value: object) -> str:
        """Return the end of a message about a value that is not allowed."""
        kind = "a whole number, " if self.whole else "a finite number, "
        right = isinstance(value, Integral if self.whole else Real) and not isinstance(value, bool)
        text = str(self) if right and abs(_float(value)) < math.inf else f"{kind}{self}"
        if _float(value) > self.high in (LARGEST, MOST):
            text += f" and at most {_number(self.high)}"
        return f"must be {text}, found {shown(value)}"


POSITIVE = Range(above=True)
NOT_NEGATIVE = Range()
SHARE = Range(high=1)
PROBABILITY = Range(high=1, below=True)
FRACTION = Range(high=1, above=True, below=True)
SEED = Range(high=2**63 - 1, whole=True)


def at_least(low: int, most: int = MOST) -> Range:
    """Return the range of the whole numbers from `low` to `most`."""
    return Range(low, most, whole=True)


WIDTH = at_least(1, 100_000)
"""Channels or units of a layer."""
MIXED_WIDTH = at_least(2, 100_000)
"""Channels of a cell that mixes operations, some of which halve the channels."""
DEPTH = at_least(1, 1_000)
"""Layers or cells of a network."""
NODES = at_least(1, 100)
"""Nodes of a cell, whose edges grow with the square."""


def check(owner: object, **ranges: Range) -> None:
    """Check arguments that an object keeps under their own names. `None` is always allowed.

    Args:
        owner: The object, whose class the message names.
        ranges: Allowed range of each argument.

    Raises:
        UsageError: A value is out of range. The message names owner, argument, range and value.
    """
    for name, wanted in ranges.items():
        check_value(f"{type(owner).__name__}: {name}", getattr(owner, name), wanted)


def check_value(name: str, value: object, wanted: Range) -> None:
    """Check a value, `None` excepted.

    Raises:
        UsageError: It is out of range.
    """
    if value is not None and value not in wanted:
        raise UsageError(f"{name} {wanted.why_not(value)}")


def _float(value: Any) -> float:
    """Return a value as a float, infinite if it is too large and nan if it is no number."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return math.nan


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
