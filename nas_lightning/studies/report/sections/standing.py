"""Standing of the found cells among all cells of the space."""

from __future__ import annotations

from statistics import fmean, median

from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.page import Section, Table


def section(a: Analysis) -> Section:
    """List the rank, percentile and regret of every found cell in the table."""
    title = "Standing among all cells"
    reading = (
        "Regret is the accuracy of the best cell in the table minus that of the found cell. The "
        "percentile is the share of the other cells that are worse."
    )
    if a.prediction:  # the best cell is not known
        return Section(title, reading)
    if a.best is None:
        return Section(title, reading, ("The study has no table of true accuracies.",))
    if not a.standings:
        return Section(title, reading, ("No search has found a cell yet.",))
    show = a.scale.show
    best = f"The best cell in the table has {show(a.best)}{a.scale.unit}."
    return Section(title, reading, (best,), tables=(_methods(a), _runs(a)))


def regrets(a: Analysis, method: str) -> list[float]:
    """Return the regret of each cell of a method, 0 to 1."""
    return [found.regret for (name, _), found in a.standings.items() if name == method]


def _methods(a: Analysis) -> Table:
    show = a.scale.show
    rows = []
    for method in a.results.methods:
        found = [standing for (name, _), standing in a.standings.items() if name == method]
        if found:
            shown = [s.regret for s in found]
            ranks = median(s.rank for s in found)
            rows.append((method, str(len(found)), show(fmean(shown)), show(min(shown)),
                         show(max(shown)), f"{ranks:,.0f}"))  # fmt: skip
    head = ("method", "cells", "mean regret", "least", "most", "median rank")
    return Table("Regret of each method, in points", head, tuple(rows))


def _runs(a: Analysis) -> Table:
    rows = tuple(
        (method, str(seed), a.scale.show(s.accuracy), f"{s.rank:,} of {s.of:,}",
         f"{s.percentile:.2f}", a.scale.show(s.regret))
        for (method, seed), s in a.standings.items()
    )  # fmt: skip
    head = ("method", "seed", a.scale.label, "rank", "percentile", "regret, points")
    return Table("Every cell", head, rows)
