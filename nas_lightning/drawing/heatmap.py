"""Heat maps of mixing weights, to see which operation each edge prefers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

CELL = (0.6, 0.3)  # width and height in inches
POINTS = 8.0
INK = "#222222"
MISSING = "#dddddd"
SLOPE = 35
"""Slope of the names of columns in degrees."""
CHARACTER = 0.6 * POINTS / 72
"""Usual width of a character of a name in inches."""
HEADING = 0.105
"""Usual width of a character of the title in inches."""
GAP, SCALE = 0.12, 0.12
"""Width in inches of the gap between map and scale, and of the scale."""

_FONT = FontProperties(family="DejaVu Sans", size=POINTS)


def draw_weights(
    weights: npt.NDArray[Any] | list[list[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    *,
    blank: bool = False,
) -> Figure:
    """Draw mixing weights as a heat map from 0 to their maximum, with the value in every box.

    Args:
        weights: Weights (E, O), one row for each edge. Values that are not finite are grey.
        rows: Names of the E edges.
        columns: Names of the O primitives.
        title: Title above the map.
        blank: Write nothing where a value is not finite, since the row has no such column.

    Raises:
        ValueError: The names do not match the shape, or the weights are empty.
    """
    values = np.asarray(weights, dtype=float)
    if values.shape != (len(rows), len(columns)) or not values.size:
        wanted = (len(rows), len(columns))
        raise ValueError(f"weights have the shape {values.shape}, the names {wanted}")
    shown = np.ma.masked_invalid(values)
    scale = Normalize(0.0, float(shown.max()) if shown.count() and shown.max() > 0 else 1.0)
    colours = colormaps["viridis"].with_extremes(bad=MISSING)
    figure, axes, scale_axes = _axes(rows, columns, title)
    # a mesh stays sharp in PDF and SVG; an image would be smoothed
    mesh = axes.pcolormesh(
        shown, cmap=colours, norm=scale, edgecolors="white", linewidth=1.0, antialiased=True
    )
    axes.invert_yaxis()
    axes.set_facecolor("white")
    fills = colours(scale(shown))  # (E, O, 4)
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = fills[row, column]
        # black and white text are equally legible at this luminance
        light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18
        axes.text(
            column + 0.5,
            row + 0.5,
            "" if blank and not math.isfinite(value) else f"{value:.2f}",
            fontproperties=_FONT,
            color="black" if light else "white",
            horizontalalignment="center",
            verticalalignment="center_baseline",
        )
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    for label in axes.get_xticklabels():
        label.set(rotation=SLOPE, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, pad=4)
    axes.spines[:].set_visible(False)
    heading = _FONT.copy()
    heading.set_size(11)
    heading.set_weight("bold")
    axes.set_title(title, fontproperties=heading, color=INK, loc="left", y=1.0, parse_math=False)
    bar = figure.colorbar(mesh, cax=scale_axes)
    bar.outline.set_visible(False)
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels(), *bar.ax.get_yticklabels()]:
        label.set(fontproperties=_FONT, color=INK, parse_math=False)
    bar.ax.tick_params(length=2, color=INK)
    return figure


def _axes(rows: Sequence[str], columns: Sequence[str], title: str) -> tuple[Figure, Axes, Axes]:
    """Return a figure, the axes of the map and those of its scale, with room for all names.

    The room is computed from the number of characters. Matplotlib's layout would draw the names
    once more to measure them, which takes as long as the whole picture.
    """
    slope = math.radians(SLOPE)
    slanted = CHARACTER * max(map(len, columns))
    width, height = CELL[0] * len(columns), CELL[1] * len(rows)
    left = max(CHARACTER * max(map(len, rows)), slanted * math.cos(slope) - CELL[0] / 2) + 0.15
    below, above = slanted * math.sin(slope) + 0.25, 0.35
    whole = (
        max(left + width + GAP + SCALE + 0.45, left + HEADING * len(title) + 0.1),
        below + height + above,
    )
    figure = Figure(figsize=whole, facecolor="white")
    FigureCanvasAgg(figure)

    def place(x: float, wide: float) -> Axes:
        """Add axes from x inches on, over the height of the map."""
        return figure.add_axes((x / whole[0], below / whole[1], wide / whole[0], height / whole[1]))

    return figure, place(left, width), place(left + width + GAP, SCALE)
