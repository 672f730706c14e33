"""Drawings of cells.

Figures are made without pyplot, and colours and fonts are set here instead of read from
matplotlib's configuration, because drawing during training must not change the user's own plots.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path as Outline

from nas_lightning.architecture import CellGenotype, Genotype
from nas_lightning.drawing.choices import draw_choices
from nas_lightning.drawing.layout import ARROW, CellLayout, Curve, layout, short_name, state_label
from nas_lightning.drawing.shapes import (
    CHARACTER,
    GREY,
    INK,
    LABEL_POINTS,
    TITLE_POINTS,
    draw_box,
    draw_text,
)
from nas_lightning.errors import NASError, UsageError

TITLE_HEIGHT = 0.34  # inches, as below
LEGEND_HEIGHT = 0.36
SAMPLE = 0.3  # length of the line before a legend entry

# Okabe and Ito's palette: distinct with any colour vision
FAMILIES = {
    "separable convolution": "#0072b2",
    "dilated convolution": "#d55e00",
    "pooling": "#009e73",
    "skip connection": "#aa4499",
    "convolution": "#2f8fc7",
    "activation": "#332288",
    "other operation": "#8a6d00",
    "no operation": "#8c8c8c",
}
ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")
METADATA: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None},
    ".png": {},
    ".pdf": {"CreationDate": None},
}
# SVG keeps text as text; PDF embeds fonts that publishers accept
SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "nas-lightning", "pdf.fonttype": 42}

_saving = threading.Lock()  # SETTINGS are global to the process: one thread at a time


def draw_cell(cell: CellGenotype, title: str) -> Figure:
    """Draw one cell with a title and a legend."""
    return _draw([(title, layout(cell))])


def draw_genotype(genotype: Genotype) -> Figure:
    """Draw the cells of a genotype, stacked vertically, or its choices as a column of layers."""
    if genotype.space.of_choices:
        return draw_choices(genotype)
    title = genotype.space.title
    return _draw([(title(kind), layout(cell)) for kind, cell in genotype.cells.items()])


def save_drawing(genotype: Genotype, path: Path | str) -> Path:
    """Draw a genotype into a file. SVG and PDF files of equal genotypes are equal.

    Args:
        genotype: The genotype.
        path: The file. Its ending, `.svg`, `.png` or `.pdf`, chooses the format. Missing folders
            are created.

    Returns:
        The path.

    Raises:
        UsageError: The path has another ending.
        NASError: The file cannot be written.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in METADATA:
        raise UsageError(f"cannot draw to {target}: the ending must be .svg, .png or .pdf")
    figure = draw_genotype(genotype)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _saving, mpl.rc_context(SETTINGS):
            figure.savefig(target, format=ending[1:], dpi=200, metadata=METADATA[ending])
    except OSError as error:
        raise NASError(f"cannot write the drawing {target}: {error.strerror or error}") from error
    return target


def family(primitive: str) -> str:
    """Return the family of an operation, a key of `FAMILIES`."""
    if primitive in ACTIVATIONS:
        return "activation"
    if primitive == "none":
        return "no operation"
    parts = {
        "sep_conv": "separable convolution",
        "dil_conv": "dilated convolution",
        "nor_conv": "convolution",
        "pool": "pooling",
        "skip": "skip connection",
    }
    return next((name for part, name in parts.items() if part in primitive), "other operation")


def _draw(cells: Sequence[tuple[str, CellLayout]]) -> Figure:
    """Draw the cells below each other, with a legend at the bottom."""
    used = {family(c.primitive) for _, cell in cells for c in cell.curves if c.primitive}
    legend = [name for name in FAMILIES if name in used]
    entries = [SAMPLE + 0.25 + 0.9 * CHARACTER * len(name) for name in legend]
    widths = [sum(entries), *(cell.width for _, cell in cells)]
    widths += [0.2 + CHARACTER * TITLE_POINTS / LABEL_POINTS * 1.1 * len(t) for t, _ in cells]
    width = max(widths)
    height = LEGEND_HEIGHT + sum(TITLE_HEIGHT + cell.height for _, cell in cells)
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    top = height
    for title, cell in cells:
        draw_text(axes, 0.12, top - 0.22, title, TITLE_POINTS, ha="left", weight="bold")
        top -= TITLE_HEIGHT + cell.height
        _draw_cell(axes, cell, ((width - cell.width) / 2, top))
    x = (width - sum(entries)) / 2 + 0.1
    for name, entry in zip(legend, entries, strict=True):
        line = Outline([(x, 0.17), (x + SAMPLE, 0.17)])
        axes.add_patch(PathPatch(line, fill=False, edgecolor=FAMILIES[name], linewidth=2.2))
        draw_text(axes, x + SAMPLE + 0.06, 0.17, name, LABEL_POINTS, ha="left")
        x += entry
    return figure


def _draw_cell(axes: Axes, cell: CellLayout, origin: tuple[float, float]) -> None:
    for curve in reversed(cell.curves):  # connectors lie below
        _draw_curve(axes, curve, origin)
    for curve in cell.curves:
        if curve.primitive is not None and curve.label is not None:
            colour = FAMILIES[family(curve.primitive)]
            draw_box(axes, curve.label, origin, (colour, 0.8), "white", 0.09)
            text = short_name(curve.primitive)
            draw_text(
                axes, origin[0] + curve.label.x, origin[1] + curve.label.y, text, LABEL_POINTS
            )
    for state, box in enumerate(cell.nodes):
        inner = cell.inputs <= state < len(cell.nodes) - 1
        draw_box(axes, box, origin, (INK, 1.0), "#fff3d6" if inner else "#e6e9ed", 0.1)
        text = state_label(state, len(cell.nodes), cell.inputs)
        draw_text(axes, origin[0] + box.x, origin[1] + box.y, text, 10, math=not inner)


def _draw_curve(axes: Axes, curve: Curve, origin: tuple[float, float]) -> None:
    points = [(origin[0] + x, origin[1] + y) for x, y in curve.points]
    codes = [Outline.MOVETO] + [Outline.CURVE4] * (len(points) - 1)
    if curve.primitive is None:
        line = Outline(points, codes)
        axes.add_patch(PathPatch(line, fill=False, edgecolor=GREY, linewidth=0.9, zorder=1))
        return
    colour = FAMILIES[family(curve.primitive)]
    x, y = points[-1]
    points[-1] = (x - ARROW / 2, y)  # the line ends inside its head, not at the tip
    line = Outline(points, codes)
    axes.add_patch(PathPatch(line, fill=False, edgecolor=colour, linewidth=1.4, zorder=2))
    head = [(x, y), (x - ARROW, y + 0.4 * ARROW), (x - ARROW, y - 0.4 * ARROW)]
    axes.add_patch(Polygon(head, closed=True, facecolor=colour, edgecolor="none", zorder=2))
