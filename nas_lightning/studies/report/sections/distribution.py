"""Distribution of the final metric over the runs of each method."""

from __future__ import annotations

import numpy as np

from nas_lightning.studies.report.analysis import Analysis, finals
from nas_lightning.studies.report.numbers import interval
from nas_lightning.studies.report.page import Picture, Section, Table
from nas_lightning.studies.report.plotting import WIDE, drawing, jitter, looks, short, to_svg

MARGIN = 0.6
ROW = 0.5
"""Heights in inches."""


def section(a: Analysis) -> Section:
    """Plot every run as a dot, and list the statistics of each method."""
    title = "Final metric of each method"
    reading = (
        "Each dot is a run: the final metric of a cell, a mean over its retrainings. The box spans "
        "the middle half of the runs and its line is the median; whiskers end at the last run "
        "within 1.5 box lengths."
    )
    if all(summary.n == 0 for summary in a.summaries.values()):
        return Section(title, reading, ("No run has a final metric yet.",))
    return Section(title, reading, pictures=(_picture(a),), tables=(_table(a),))


def _table(a: Analysis) -> Table:
    show = a.scale.show
    rows = [
        (
            method,
            str(s.n),
            show(s.mean),
            a.scale.show(s.std),
            *(show(value) for value in (s.min, s.max, s.median, s.iqr)),
            interval(show(s.low), show(s.high)),
        )
        for method, s in a.summaries.items()
    ]
    head = ("method", "n", "mean", "std", "min", "max", "median", "IQR", "95 % interval of mean")
    notes = [f"{method}: {s.note}." for method, s in a.summaries.items() if s.note]
    return Table(f"Final {a.scale.label}", head, tuple(rows), note=" ".join(notes))


def _picture(a: Analysis) -> Picture:
    methods = a.results.methods
    look = looks(methods)
    with drawing((WIDE[0], MARGIN + ROW * len(methods))) as figure:
        axes = figure.add_subplot()
        for row, method in enumerate(methods):
            values = a.scale.factor * np.asarray(finals(a.results, method))
            if not len(values):
                continue
            axes.boxplot(
                values,
                positions=[row],
                widths=0.62,
                orientation="horizontal",
                showfliers=False,
                manage_ticks=False,
                boxprops={"color": look[method].colour, "alpha": 0.6},
                whiskerprops={"color": look[method].colour, "alpha": 0.6},
                capprops={"color": look[method].colour, "alpha": 0.6},
                medianprops={"color": look[method].colour, "linewidth": 2},
            )
            axes.scatter(
                values,
                row + np.asarray(jitter(len(values), 0.36)),
                s=16,
                color=look[method].colour,
                marker=look[method].marker,
                alpha=0.8,
                linewidths=1 if look[method].marker == "x" else 0,
                zorder=3,
            )
        axes.set_yticks(range(len(methods)), map(short, methods), parse_math=False)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(a.scale.label)
        axes.ticklabel_format(axis="x", useOffset=False)
        title = "Final metric of every run, by method"
        return Picture("distribution", title, to_svg(figure))
