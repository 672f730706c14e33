"""Distribution of the final metric over the runs of each method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from nas_lightning.studies.report.analysis import Analysis, finals
from nas_lightning.studies.report.numbers import Scale, gathered, interval
from nas_lightning.studies.report.page import Picture, Section, Table
from nas_lightning.studies.report.plotting import WIDE, drawing, jitter, looks, short, to_svg

MARGIN = 0.6
ROW, NARROW = 0.5, 0.32
"""Heights in inches; the rows of more than `FEW` methods are narrow."""
FEW = 8
FENCE = 3.0
"""Interquartile ranges beyond the middle half of all runs that a picture shows at most."""


def section(a: Analysis) -> Section:
    """Plot every run as a dot, and list the statistics of each method."""
    title = "Final metric of each method"
    reading = (
        "Each dot is a run: the final metric of a cell, a mean over its retrainings. The box spans "
        "the middle half of the runs and its line is the median; whiskers end at the last run "
        "within 1.5 box lengths. The value of a run far outside is written at the edge."
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
    note = gathered((method, s.note) for method, s in a.summaries.items())
    return Table(f"Final {a.scale.label}", head, tuple(rows), note=note)


def _picture(a: Analysis) -> Picture:
    methods = a.results.methods
    look = looks(methods)
    window = _window([a.scale.factor * value for m in methods for value in finals(a.results, m)])
    with drawing(
        (WIDE[0], MARGIN + (ROW if len(methods) <= FEW else NARROW) * len(methods))
    ) as figure:
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
            if window:
                _mark_outside(axes, row, values, window, look[method].colour, a.scale)
        if window:
            axes.set_xlim(*window)
        axes.set_yticks(range(len(methods)), map(short, methods), parse_math=False)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(a.scale.label)
        axes.ticklabel_format(axis="x", useOffset=False)
        title = "Final metric of every run, by method"
        return Picture("distribution", title, to_svg(figure))


def _window(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the ends of the axis if some runs are so far off that the others would be a line."""
    low, high = np.quantile(values, (0.25, 0.75))
    room = FENCE * (high - low)
    inside = [value for value in values if low - room <= value <= high + room]
    if room == 0 or len(inside) == len(values):
        return None
    margin = 0.05 * (max(inside) - min(inside))
    return min(inside) - margin, max(inside) + margin


def _mark_outside(
    axes: Axes,
    row: int,
    values: NDArray[Any],
    window: tuple[float, float],
    colour: str,
    scale: Scale,
) -> None:
    """Write the values outside the axis at its ends."""
    left, right = (values[values < window[0]], values[values > window[1]])
    for found, place, sign, side in ((left, 0.01, "◂ ", "left"), (right, 0.99, " ▸", "right")):
        if len(found):
            numbers = ", ".join(scale.show(value / scale.factor) for value in sorted(found))
            axes.text(
                place,
                row + 0.3,  # below the whisker, which ends there too
                sign + numbers if side == "left" else numbers + sign,
                transform=axes.get_yaxis_transform(),
                ha=side,
                va="center_baseline",
                fontsize=6.5,
                color=colour,
            )
