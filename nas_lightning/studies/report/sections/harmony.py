"""Λ: how far the cells that share α agree about it at the end of a search."""

from __future__ import annotations

from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import coefficient, interval
from nas_lightning.studies.report.page import Section, Table


def section(a: Analysis) -> Section:
    """List Λ of the searches of each method."""
    title = "Agreement of the cells about α"
    reading = (
        "Λ is the mean cosine between the gradients of two cells that share α: 1 if all cells want "
        "the same architecture, 0 if they have nothing in common. The value of a search is the "
        "mean over the last epoch in which it was measured."
    )
    if not any(summary.n for summary in a.lambdas.values()):
        return Section(title, reading, ("No search has measured Λ.",))
    return Section(title, reading, tables=(_table(a),))


def _table(a: Analysis) -> Table:
    rows = tuple(
        (
            method,
            str(s.n),
            *map(coefficient, (s.mean, s.std, s.min, s.max, s.median)),
            interval(coefficient(s.low), coefficient(s.high)),
        )
        for method, s in a.lambdas.items()
    )
    head = ("method", "searches", "mean Λ", "std", "min", "max", "median", "95 % interval of mean")
    return Table("Λ at the end of the searches", head, rows)
