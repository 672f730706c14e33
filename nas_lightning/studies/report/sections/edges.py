"""Agreement of the found cells, edge by edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from nas_lightning.architecture import Genotype, SearchSpace, state_name
from nas_lightning.drawing.layout import short_name
from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.report.agreement import Agreement
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.numbers import cell_name, percent
from nas_lightning.studies.report.page import Picture, Section, Table
from nas_lightning.studies.report.plotting import FAINT, INK, MANY, SMALL, drawing, short, to_svg

COLOUR = "#0072b2"
STRONGEST = 0.55
"""Opacity of a box that all runs chose, at which text is legible on light and dark paper."""
ROW = 0.155
"""Height of a row of a map in inches."""


@dataclass(frozen=True)
class Shape:
    """The shape of all cells of a kind.

    Attributes:
        kind: Name of the kind.
        inputs: Number of input states.
        edges: Source and target of every edge that a cell may keep.
        primitives: Operations that an edge may have.
    """

    kind: str
    inputs: int
    edges: tuple[tuple[int, int], ...]
    primitives: tuple[str, ...]


def section(a: Analysis) -> Section:
    """Draw a map for each method and kind of cell, and list one number for each method."""
    title = "Agreement, edge by edge"
    reading = (
        "A box shows the percentage of runs that kept an edge with an operation, or that gave a "
        "choice this candidate; the last column of a cell shows how many kept the edge at all. "
        "Seeds that agree have few strong boxes, random cells an even pattern."
    )
    found = {method: made for method, made in a.agreements.items() if made.runs}
    if not found:
        return Section(title, reading, ("No search has found a cell yet.",))
    kinds = len(next(iter(found.values())).kept)
    words = ["Agreement is the share of a node's inputs (source and operation) that two cells both "
             "keep, a mean over nodes and pairs of seeds."]  # fmt: skip
    if RANDOM in found:
        words.append("The agreement of the random cells is due to chance.")
    space = _genotype(a).space
    if kinds > MANY and not space.of_choices:
        words.append(f"The maps are left out, since there are {kinds} kinds of cells.")
    methods = list(enumerate(found.items()))
    if space.of_choices:
        pictures = [_choices(method, number, made, space) for number, (method, made) in methods]
    else:
        shapes = _shapes(a) if kinds <= MANY else []
        pictures = [
            _map(m, number, made, shape) for number, (m, made) in methods for shape in shapes
        ]
    return Section(title, reading, (" ".join(words),), tuple(pictures), (_table(found),))


def _table(found: dict[str, Agreement]) -> Table:
    rows = tuple(
        (method, str(made.runs), str(made.distinct), percent(made.agreement))
        for method, made in found.items()
    )
    short = [method for method, made in found.items() if made.agreement is None]
    note = f"{', '.join(short)}: agreement needs at least two cells." if short else ""
    return Table(
        "Agreement between seeds", ("method", "cells", "distinct", "agreement"), rows, note=note
    )


def _genotype(a: Analysis) -> Genotype:
    return next(run.genotype for run in a.results.runs if run.genotype is not None)


def _shapes(a: Analysis) -> list[Shape]:
    """Return the shapes of the genotypes; a space may have been searched with fewer nodes."""
    genotype = _genotype(a)
    shapes = []
    for kind, cell in genotype.cells.items():
        used = {name for made in a.agreements.values() for _, _, name in made.kept.get(kind, ())}
        known = genotype.space.cell(kind).primitives
        names = [name for name in known if name in used or name != "none"]
        states = range(cell.inputs, cell.inputs + len(cell.nodes))
        edges = tuple((source, target) for target in states for source in range(target))
        shapes.append(Shape(kind, cell.inputs, edges, (*names, *sorted(used - set(known)))))
    return shapes


def _map(method: str, number: int, made: Agreement, shape: Shape) -> Picture:
    edges, names = shape.edges, shape.primitives
    kept = made.kept[shape.kind]
    shares = np.zeros((len(edges), len(names) + 1))  # (E, O + 1); last column: kept at all
    for row, (source, target) in enumerate(edges):
        for column, name in enumerate(names):
            shares[row, column] = kept.get((target, source, name), 0) / made.runs
            shares[row, -1] += 0 if name == "none" else shares[row, column]
    columns = [*map(short_name, names), "kept"]
    rows = [f"{_state(s, shape.inputs)} → {_state(t, shape.inputs)}" for s, t in edges]
    title = f"How often {method} kept each edge with each operation, {cell_name(shape.kind)}"
    return _draw(
        Map(f"edges_{number}_{shape.kind}", title, f"{short(method)}, {cell_name(shape.kind)}"),
        rows,
        columns,
        shares,
        last=True,
    )


def _choices(method: str, number: int, made: Agreement, space: SearchSpace) -> Picture:
    """Draw a map with a row for each choice."""
    names = list(dict.fromkeys(name for cell in space.cells for name in cell.primitives))
    counts = [[made.kept[kind].get((1, 0, name), 0) for name in names] for kind in space.kinds]
    title = f"How often {method} chose each candidate"
    shown = Map(f"edges_{number}_choices", title, short(method))
    return _draw(shown, space.kinds, names, np.asarray(counts) / made.runs, last=False)


@dataclass(frozen=True)
class Map:
    """Names of a map.

    Attributes:
        name: Name of its file.
        title: Its title in the report.
        heading: The text above it.
    """

    name: str
    title: str
    heading: str


def _draw(
    shown: Map, rows: Sequence[str], columns: Sequence[str], shares: NDArray[Any], *, last: bool
) -> Picture:
    """Draw shares (rows, columns) as boxes; with `last`, the last column is set apart."""
    with drawing((SMALL[0], 0.95 + ROW * len(rows))) as figure:
        axes = figure.add_subplot()
        axes.grid(visible=False)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        for (row, column), share in np.ndenumerate(shares):
            if share:
                opacity = STRONGEST * min(share, 1.0)
                box = (column - 0.5, row - 0.5)
                axes.add_patch(_box(box, opacity, last=last and column == len(columns) - 1))
                text = f"{100 * share:.0f}"
                axes.text(column, row, text, ha="center", va="center_baseline", fontsize=6.5)
        axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", parse_math=False)
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0, labelsize=6.5)
        axes.spines[:].set_visible(False)
        axes.set_title(shown.heading, parse_math=False, color=INK)
        return Picture(shown.name, shown.title, to_svg(figure), small=True)


def _box(corner: tuple[float, float], opacity: float, *, last: bool) -> Rectangle:
    return Rectangle(corner, 0.94, 0.94, facecolor=FAINT if last else COLOUR, alpha=opacity)


def _state(state: int, inputs: int) -> str:
    """Return the name of a state in plain text, such as `k-2` for an input."""
    return state_name(state, inputs).replace("c_{", "").rstrip("}")
