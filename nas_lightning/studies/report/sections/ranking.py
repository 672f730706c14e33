"""Ranking of the random cells by supernets, compared with retraining."""

from __future__ import annotations

import numpy as np

from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import coefficient, gathered, interval
from nas_lightning.studies.report.page import Picture, Section, Table
from nas_lightning.studies.report.plotting import FAINT, WIDE, drawing, jitter, looks, short, to_svg
from nas_lightning.studies.statistics import summarize

MARGIN = 0.6
ROW = 0.42
"""Heights in inches."""


def section(a: Analysis) -> Section:
    """Plot Kendall's τ of the random cells' scores in each supernet and their final metrics."""
    title = "Ranking of the random cells by supernets"
    reading = (
        "Each search scores the same random cells with its supernet's weights. τ is 1 if the "
        "scores rank the cells like their final metrics, and around 0 if they are unrelated."
    )
    if not a.rankings:
        drawn = a.results.of(RANDOM)
        why = "No search scored the random cells." if drawn else "The study has no random cells."
        return Section(title, reading, (why,))
    if not any(ranking.tau is not None for ranking in a.rankings):
        notes = sorted({ranking.note for ranking in a.rankings if ranking.note})
        return Section(title, reading, (f"τ is undefined for every search: {'; '.join(notes)}.",))
    return Section(title, reading, pictures=(_picture(a),), tables=(_table(a),))


def taus(a: Analysis, method: str) -> list[float]:
    """Return τ of each search of a method, without searches for which it is undefined."""
    return [r.tau for r in a.rankings if r.method == method and r.tau is not None]


def _table(a: Analysis) -> Table:
    rows = []
    for method in a.searches:
        s = summarize(taus(a, method))
        numbers = (s.mean, s.std, s.min, s.max, s.median)
        shown = interval(coefficient(s.low), coefficient(s.high))
        rows.append((method, str(s.n), *map(coefficient, numbers), shown))
    head = ("method", "searches", "mean τ", "std", "min", "max", "median", "95 % interval of mean")
    note = gathered((f"{r.method}, seed {r.seed}", r.note) for r in a.rankings)
    return Table("Kendall's τ-b over the random cells", head, tuple(rows), note=note)


def _picture(a: Analysis) -> Picture:
    look = looks(a.results.methods)
    with drawing((WIDE[0], MARGIN + ROW * len(a.searches))) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=FAINT, linewidth=1)
        for row, method in enumerate(a.searches):
            values = taus(a, method)
            axes.scatter(
                values,
                row + np.asarray(jitter(len(values), 0.4)),
                s=20,
                color=look[method].colour,
                marker=look[method].marker,
                alpha=0.85,
                linewidths=0,
            )
        axes.set_xlim(-1.05, 1.05)
        axes.set_yticks(range(len(a.searches)), map(short, a.searches), parse_math=False)
        axes.set_ylim(len(a.searches) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Kendall's τ-b of each search")
        title = "How well each search's supernet ranks the random cells"
        return Picture("ranking", title, to_svg(figure))
