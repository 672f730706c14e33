"""Comparisons of every two methods."""

from __future__ import annotations

from collections.abc import Sequence

from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.contrasts import FEWEST, LEVEL, Contrast
from nas_lightning.studies.report.numbers import (
    NOTHING,
    coefficient,
    gathered,
    interval,
    listed,
    probability,
)
from nas_lightning.studies.report.page import Section, Table

MOST = 36
"""Most comparisons that are all listed: those of nine methods."""
HEAD = (
    "first", "second", "pairs", "difference", "95 % interval", "p", "p (Holm)", "d_z",
    "pairs needed",
)  # fmt: skip


def section(a: Analysis) -> Section:
    """List the paired differences."""
    title = "Comparisons"
    reading = (
        "A difference is the first method minus the second on the same seed; random cells are "
        "paired with seeds by their number. Two methods differ significantly if p, adjusted by "
        f"Holm for all comparisons, is below {LEVEL}."
    )
    if not a.contrasts:
        return Section(title, reading, ("There is nothing to compare: only one method ran.",))
    if all(contrast.comparison.n == 0 for contrast in a.contrasts):
        return Section(title, reading, ("No two methods have finished the same seed yet.",))
    tests = list(dict.fromkeys(c.comparison.test for c in a.contrasts if c.comparison.n))
    words = [
        f"Test for p: {listed(tests)}. d_z is the mean difference divided by the standard "
        "deviation of the differences. Pairs needed is the number of pairs with which a paired t "
        "test at the 5 % level finds a difference of this size in 80 % of all studies; it is at "
        f"least {FEWEST}, since with fewer pairs the sign-flip test cannot reach that level.",
    ]
    shown = _shown(a.contrasts)
    if len(shown) < len(a.contrasts):
        words.append(
            f"Of {len(a.contrasts)} comparisons the table lists the {len(shown)} with random cells "
            "or with a significant difference. p is adjusted for all of them, and report.json has "
            "them all."
        )
    table = Table(
        f"Differences in {a.scale.name}"
        + (f", in{a.scale.difference_unit}" if a.scale.unit else ""),
        HEAD,
        tuple(_row(a, contrast) for contrast in shown),
        labels=2,
        note=gathered(
            (f"{c.comparison.first} and {c.comparison.second}", c.comparison.note) for c in shown
        ),
    )
    return Section(title, reading, tuple(words), tables=(table,))


def _shown(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Return the comparisons to list: of very many, those that a reader looks for."""
    some = [
        contrast
        for contrast in contrasts
        if contrast.told_apart or RANDOM in (contrast.comparison.first, contrast.comparison.second)
    ]
    return some if some and len(contrasts) > MOST else list(contrasts)


def _row(a: Analysis, contrast: Contrast) -> tuple[str, ...]:
    c, signed = contrast.comparison, a.scale.signed
    return (
        c.first,
        c.second,
        str(c.n),
        signed(c.difference),
        interval(signed(c.low), signed(c.high)),
        probability(c.p),
        probability(contrast.adjusted),
        coefficient(c.effect),
        NOTHING if contrast.pairs_needed is None else f"{contrast.pairs_needed:,}",
    )
