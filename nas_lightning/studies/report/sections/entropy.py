"""Entropy of the operation weights in each epoch."""

from __future__ import annotations

from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import cell_name
from nas_lightning.studies.report.page import Picture, Section
from nas_lightning.studies.report.plotting import (
    MANY,
    SMALL,
    WIDE,
    drawing,
    legend,
    looks,
    short,
    to_svg,
    whole_numbers,
)
from nas_lightning.studies.report.trajectories import curve, kinds, mean_curve

PREFIX = "search/entropy_"
MEAN = "search/entropy"
"""Name of the mean over all kinds of cells, all that a search of choices logs."""


def section(a: Analysis) -> Section:
    """Plot the entropy of the operation weights, a line for each search."""
    title = "Entropy over the epochs"
    reading = (
        "Mean entropy of the operation weights of an edge, in nats: high if all operations have "
        "the same weight, 0 if each edge has chosen one. Each line is a search."
    )
    found = kinds(a.results.runs, PREFIX)
    if not found and any(curve(run, MEAN) for run in a.results.runs):
        return Section(title, reading, pictures=(_picture(a, "all choices", [MEAN], small=False),))
    if not found:
        return Section(title, reading, ("No search has logged its entropy.",))
    if len(found) > MANY:
        words = f"The lines are means over the {len(found)} kinds of cells."
        picture = _picture(a, "all cells", [PREFIX + kind for kind in found], small=False)
        return Section(title, reading, (words,), (picture,))
    pictures = tuple(
        _picture(a, cell_name(kind), [PREFIX + kind], small=len(found) > 1) for kind in found
    )
    return Section(title, reading, pictures=pictures)


def _picture(a: Analysis, what: str, keys: list[str], *, small: bool) -> Picture:
    look = looks(a.results.methods)
    with drawing(SMALL if small else WIDE) as figure:
        axes = figure.add_subplot()
        for method in a.searches:
            curves = [c for run in a.results.of(method) if (c := mean_curve(run, keys))]
            for index, line in enumerate(curves):
                axes.plot(
                    line.epochs,
                    line.values,
                    color=look[method].colour,
                    linewidth=0.9,
                    alpha=0.7,
                    label="" if index else short(method),
                )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel("entropy, nats")
        axes.set_title(what, parse_math=False)
        whole_numbers(axes.xaxis)
        legend(figure, axes)
        title = f"Entropy of the operation weights over the epochs, {what}"
        return Picture(f"entropy_{what.replace(' ', '_')}", title, to_svg(figure), small)
