"""Operation weights in each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas_lightning.drawing.cells import FAMILIES, family
from nas_lightning.drawing.layout import short_name
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.collapse import ALL
from nas_lightning.studies.report.numbers import cell_name
from nas_lightning.studies.report.page import Picture, Section
from nas_lightning.studies.report.plotting import (
    SMALL,
    drawing,
    legend,
    short,
    to_svg,
    whole_numbers,
)
from nas_lightning.studies.report.trajectories import Curve, candidate_weights, operation_weights

DASHES: tuple[object, ...] = ("-", (0, (3, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))
"""Line styles of the operations of a family, which share a colour."""


def section(a: Analysis) -> Section:
    """Plot the mean weights over the edges of a cell, a line for each operation and search."""
    title = "Operation weights over the epochs"
    reading = (
        "Mean weight of each operation over the edges of a cell, or over the choices of a network: "
        "the softmax of α, or α itself if the method keeps it on the simplex. Each thin line is a "
        "search."
    )
    if not any(run.history for run in a.results.runs):
        return Section(title, reading, ("No search has logged its α.",))
    pictures = [
        _picture(method, number, kind, curves)
        for number, method in enumerate(a.searches)
        for kind, curves in _curves(a, method).items()
    ]
    if not pictures:
        why = "The logs contain no α: searches with more than four kinds of cells do not log it."
        return Section(title, reading, (why,))
    return Section(title, reading, pictures=tuple(pictures))


def _curves(a: Analysis, method: str) -> dict[str, list[dict[str, Curve]]]:
    """Return for each kind of cell the curves of each search that logged α."""
    found: dict[str, list[dict[str, Curve]]] = {}
    for run in a.results.of(method):
        if run.genotype is not None and run.genotype.space.of_choices:
            if curves := candidate_weights(run):
                found.setdefault(ALL, []).append(curves)
            continue
        for kind in run.genotype.cells if run.genotype is not None else ():
            if curves := operation_weights(run, kind):
                found.setdefault(kind, []).append(curves)
    return found


def _picture(
    method: str, number: int, kind: str, searches: Sequence[Mapping[str, Curve]]
) -> Picture:
    families = list(FAMILIES)
    names = sorted(
        {name for curves in searches for name in curves},
        key=lambda name: (families.index(family(name)), name),
    )
    styles = _styles(names)
    with drawing((SMALL[0], SMALL[1] + 0.5)) as figure:
        axes = figure.add_subplot()
        for name in names:
            colour, dashes = styles[name]
            for index, curves in enumerate(curves for curves in searches if name in curves):
                axes.plot(
                    curves[name].epochs,
                    curves[name].values,
                    color=colour,
                    linestyle=dashes,
                    linewidth=0.8,
                    alpha=0.75,
                    label="" if index else short_name(name),
                )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean weight")
        axes.set_title(f"{short(method)}, {_title(kind)}", parse_math=False)
        whole_numbers(axes.xaxis)
        legend(figure, axes)
        title = f"Operation weights of {method}, {_title(kind)}"
        return Picture(
            f"weights_{number}_{kind.replace(' ', '_')}", title, to_svg(figure), small=True
        )


def _title(kind: str) -> str:
    return ALL if kind == ALL else cell_name(kind)


def _styles(names: Sequence[str]) -> dict[str, tuple[str, object]]:
    """Return the family's colour, as in drawings of cells, with a line style for each member."""
    styles: dict[str, tuple[str, object]] = {}
    seen: dict[str, int] = {}
    for name in names:
        number = seen[family(name)] = seen.get(family(name), -1) + 1
        styles[name] = FAMILIES[family(name)], DASHES[number % len(DASHES)]
    return styles
