"""Correlation of the metrics at the end of a search with the final metric."""

from __future__ import annotations

from collections.abc import Mapping

from nas_lightning.studies.correlation import Correlation
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import (
    Scale,
    coefficient,
    gathered,
    interval,
    probability,
)
from nas_lightning.studies.report.page import Picture, Section, Table
from nas_lightning.studies.report.plotting import WIDE, drawing, legend, looks, short, to_svg
from nas_lightning.studies.report.proxies import PROXIES, TITLES, Coefficients, pairs

HEAD = ("searches of", "n", "Pearson", "95 % interval", "Spearman", "95 % interval", "Kendall τ-b",
        "95 % interval", "p of τ")  # fmt: skip


def section(a: Analysis) -> Section:
    """Plot and correlate the one-shot and the supernet's metric with the final metric."""
    reading = (
        "One-shot metric: the found cell with the supernet's weights, on the test data. "
        "Supernet's metric: the whole mixture, on the validation half. A good proxy rises with the "
        "final metric within each method, not only across methods."
    )
    words, pictures, tables = [], [], []
    for proxy in PROXIES:
        if not any(pairs(a.results.of(method), proxy) for method in a.searches):
            words.append(f"No search has both a {TITLES[proxy]} and a final metric.")
            continue
        pictures.append(_picture(a, proxy))
        tables.append(_table(a.correlations[proxy], proxy))
    title = "One-shot and supernet's metric against the final metric"
    return Section(title, reading, tuple(words), tuple(pictures), tuple(tables))


def _table(found: Mapping[str, Coefficients], proxy: str) -> Table:
    rows = [
        (name, str(c[2].n), *(text for each in c for text in _pair(each)), probability(c[2].p))
        for name, c in found.items()
    ]
    note = gathered((name, c[2].note) for name, c in found.items())
    title = f"Correlation of the {TITLES[proxy]} with the final metric"
    return Table(title, HEAD, tuple(rows), note=note)


def _pair(c: Correlation) -> tuple[str, str]:
    return coefficient(c.value), interval(coefficient(c.low), coefficient(c.high))


def _picture(a: Analysis, proxy: str) -> Picture:
    look = looks(a.results.methods)
    with drawing(WIDE) as figure:
        axes = figure.add_subplot()
        for method in a.searches:
            points = pairs(a.results.of(method), proxy)
            axes.scatter(
                [a.scale.factor * x for x, _ in points],
                [a.scale.factor * y for _, y in points],
                s=22,
                color=look[method].colour,
                marker=look[method].marker,
                alpha=0.85,
                linewidths=0,
                label=short(method),
            )
        axes.set_xlabel(f"{TITLES[proxy]}: {Scale(a.results.metric).label}")
        axes.set_ylabel(f"final {a.scale.label}")
        axes.ticklabel_format(useOffset=False)
        legend(figure, axes)
        title = f"The {TITLES[proxy]} of every search against its final metric"
        return Picture(f"{proxy}_final", title, to_svg(figure))
