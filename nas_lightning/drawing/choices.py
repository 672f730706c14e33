"""Drawings of choices: the chosen candidates as a column of layers, and rows of heat maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.architecture.genotype_cells import chosen_candidates
from nas_lightning.drawing.shapes import (
    CHARACTER,
    GREY,
    INK,
    LABEL_POINTS,
    TITLE_POINTS,
    Box,
    draw_box,
    draw_text,
)

MARGIN = 0.15  # inches, as below
TITLE = 0.42
ROW = 0.36
HEIGHT = 0.24
BAR = 2.4
"""Width of the bar that the weights of a choice share."""
SMALLEST = 6.0
"""Points of the names inside bars."""
LETTER = 1.1 * CHARACTER * SMALLEST / LABEL_POINTS
"""Width of a character of these names."""
FAINT = "#e6e9ed"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#8a6d00", "#332288", "#2f8fc7", "#8c8c8c")
"""Okabe and Ito's palette, darkened: one colour for each name of a candidate."""
MANY = 4
"""Largest number of heat maps."""


@dataclass(frozen=True)
class WeightMap:
    """The rows and columns of a heat map.

    Attributes:
        choices: Names of its rows.
        candidates: Names of its columns.
        weights: Weights (choices, candidates); nan where a choice has no such candidate.
        joined: True if some choices do not have all candidates.
    """

    choices: tuple[str, ...]
    candidates: tuple[str, ...]
    weights: list[list[float]]
    joined: bool


def weight_maps(space: SearchSpace, weights: Mapping[str, Sequence[float]]) -> list[WeightMap]:
    """Return the heat maps of choices: one for all choices with the same candidates.

    More than `MANY` maps are joined into a single one, with a column for each candidate of any
    choice.

    Args:
        space: A space of choices.
        weights: Weights of the candidates of each choice.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for cell in space.cells:
        found.setdefault(cell.primitives, []).append(cell.kind)
    joined = len(found) > MANY
    if joined:
        found = {tuple(dict.fromkeys(name for names in found for name in names)): [*space.kinds]}
    maps = []
    for candidates, kinds in found.items():
        rows = []
        for kind in kinds:
            own = dict(zip(space.cell(kind).primitives, weights[kind], strict=True))
            rows.append([own.get(name, math.nan) for name in candidates])
        maps.append(WeightMap(tuple(kinds), candidates, rows, joined))
    return maps


def draw_choices(genotype: Genotype) -> Figure:
    """Draw the choices of a network below each other, in the order of its modules.

    Each row is the name of a choice and its candidate and, if the genotype has mixing weights, a
    bar in which every candidate is as wide as its weight.
    """
    chosen = chosen_candidates(genotype.cells)
    names = list(dict.fromkeys(n for cell in genotype.space.cells for n in cell.primitives))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    weights = {kind: _weights(genotype, kind) for kind in chosen}
    left = MARGIN + CHARACTER * max(map(len, chosen)) + 0.12
    box = max(0.9, CHARACTER * max(map(len, chosen.values())) + 0.3)
    bars = left + box + 0.25
    width = (bars + BAR if any(weights.values()) else left + box) + MARGIN
    title = genotype.space.name
    width = max(width, 2 * MARGIN + 1.1 * CHARACTER * TITLE_POINTS / LABEL_POINTS * len(title))
    height = TITLE + ROW * len(chosen) + MARGIN
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    draw_text(axes, MARGIN, height - 0.22, title, TITLE_POINTS, ha="left", weight="bold")
    levels = [height - TITLE - ROW * (row + 0.5) for row in range(len(chosen))]
    for y, below in pairwise(levels):
        ends = [y - HEIGHT / 2, below + HEIGHT / 2]
        axes.plot([left + box / 2] * 2, ends, color=GREY, linewidth=0.9)
    for y, (kind, candidate) in zip(levels, chosen.items(), strict=True):
        draw_text(axes, left - 0.12, y, kind, LABEL_POINTS, ha="right")
        place = Box(left + box / 2, y, box, HEIGHT)
        draw_box(axes, place, (0.0, 0.0), (colours[candidate], 1.2), "white", 0.07)
        draw_text(axes, place.x, y, candidate, LABEL_POINTS)
        _bar(axes, bars, y, weights[kind], candidate, colours[candidate])
    return figure


def _weights(genotype: Genotype, kind: str) -> dict[str, float]:
    """Return the share of each candidate; empty if the genotype has no such weights."""
    names = genotype.space.cell(kind).primitives
    rows = genotype.mixing.get(kind, {}).get("ops", [])
    row = rows[0] if isinstance(rows, list) and rows else []
    positive = len(row) == len(names) and all(weight >= 0 for weight in row) and sum(row) > 0
    return {n: w / sum(row) for n, w in zip(names, row, strict=True)} if positive else {}


def _bar(
    axes: Axes, x: float, y: float, shares: Mapping[str, float], chosen: str, colour: str
) -> None:
    """Draw a bar of all candidates, from `x` on; the chosen one has a colour."""
    for name, share in shares.items():
        wide = BAR * share
        fill = colour if name == chosen else FAINT
        corner = (x, y - HEIGHT / 2)
        part = Rectangle(corner, wide, HEIGHT, facecolor=fill, edgecolor="white", linewidth=0.8)
        axes.add_patch(part)
        text = f"{name} {share:.2f}"
        words = (text, name, f"{share:.2f}")
        room = next((w for w in words if LETTER * len(w) + 0.06 < wide), "")
        draw_text(axes, x + wide / 2, y, room, SMALLEST, colour="white" if name == chosen else INK)
        x += wide
