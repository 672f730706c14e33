"""Comparisons of every two methods, with p values adjusted for the number of comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from nas_lightning.studies.comparison import Comparison, compare, holm
from nas_lightning.studies.results import Results

LEVEL = 0.05
FEWEST = 6
"""Least number of pairs n at which p of the sign-flip test, at least 2 / 2^n, can be below the
level."""


@dataclass(frozen=True)
class Contrast:
    """A comparison of two methods, as one of all comparisons of a report.

    Attributes:
        comparison: The comparison.
        adjusted: p after Holm's adjustment for all comparisons of the report; `None` without p.
    """

    comparison: Comparison
    adjusted: float | None

    @property
    def told_apart(self) -> bool:
        """True if the two methods differ beyond chance."""
        return self.adjusted is not None and self.adjusted < LEVEL

    @property
    def pairs_needed(self) -> int | None:
        """Number of pairs that would confirm this difference if it were the only comparison."""
        needed = self.comparison.runs_needed
        return None if needed is None else max(needed, FEWEST)


def contrasts(results: Results) -> tuple[Contrast, ...]:
    """Compare every two methods on their common seeds; the seed of a random cell is its number."""
    finals = {
        method: {run.seed: run.final for run in results.of(method) if run.final is not None}
        for method in results.methods
    }
    found = [
        compare(a, b, [(finals[a][s], finals[b][s]) for s in sorted(finals[a].keys() & finals[b])])
        for a, b in combinations(results.methods, 2)
    ]
    tested = [comparison.p for comparison in found if comparison.p is not None]
    adjusted = iter(holm(tested))
    return tuple(
        Contrast(comparison, None if comparison.p is None else next(adjusted))
        for comparison in found
    )
