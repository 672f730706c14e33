"""All methods against each other, with p values adjusted for their number."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from nas_lightning.studies.comparison import Comparison, compare, holm
from nas_lightning.studies.results import Results

LEVEL = 0.05
FEWEST = 6
"""With fewer pairs p of the sign-flip test, at least 2 / 2^n, is never below the level."""


@dataclass(frozen=True)
class Contrast:
    """A comparison among others.

    Attributes:
        comparison: The two methods.
        adjusted: Its p value, adjusted by Holm for all comparisons of the report.
    """

    comparison: Comparison
    adjusted: float | None

    @property
    def told_apart(self) -> bool:
        """Whether the two differ beyond chance."""
        return self.adjusted is not None and self.adjusted < LEVEL

    @property
    def pairs_needed(self) -> int | None:
        """Pairs that would confirm a difference of this size, were it the only comparison."""
        needed = self.comparison.runs_needed
        return None if needed is None else max(needed, FEWEST)


def contrasts(results: Results) -> tuple[Contrast, ...]:
    """Compare every two methods on the seeds that both have; random cells pair by number."""
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
