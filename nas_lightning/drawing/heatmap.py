"""Heat maps of mixing weights, to see which operation each edge prefers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

CELL = (0.6, 0.3)  # width and height in inches
POINTS = 8.0
INK = "#222222"
MISSING = "#dddddd"

_FONT = FontProperties(family="DejaVu Sans", size=POINTS)


def draw_weights(
    weights: npt.NDArray[Any] | list[list[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> Figure:
    """Draw mixing weights as a heat map from 0 to their maximum, with the value in every box.

    Args:
        weights: Weights (E, O), one row for each edge. Values that are not finite are grey.
        rows: Names of the E edges.
        columns: Names of the O primitives.
        title: Title above the map.

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
    character = 0.6 * POINTS / 72
    size = (
        CELL[0] * len(columns) + character * max(map(len, rows)) + 1.1,
        CELL[1] * len(rows) + 0.7 * character * max(map(len, columns)) + 0.7,
    )
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
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
            f"{value:.2f}",
            fontproperties=_FONT,
            color="black" if light else "white",
            horizontalalignment="center",
            verticalalignment="center_baseline",
        )
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    for label in axes.get_xticklabels():
        label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, pad=4)
    axes.spines[:].set_visible(False)
    heading = _FONT.copy()
    heading.set_size(11)
    heading.set_weight("bold")
    axes.set_title(title, fontproperties=heading, color=INK, loc="left", parse_math=False)
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels(), *bar.ax.get_yticklabels()]:
        label.set(fontproperties=_FONT, color=INK, parse_math=False)
    bar.ax.tick_params(length=2, color=INK)
    return figure
