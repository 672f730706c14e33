"""Boxes and text of drawings, in inches."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch

INK = "#222222"
GREY = "#a8a8a8"
TITLE_POINTS = 11.0
LABEL_POINTS = 8.0
CHARACTER = 0.6 * LABEL_POINTS / 72
"""Mean advance of DejaVu Sans at that size, rounded up."""

_FONT = FontProperties(family="DejaVu Sans", size=LABEL_POINTS)


@dataclass(frozen=True)
class Box:
    """A rectangle around the centre `(x, y)`."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Return True if the two boxes have an inner point in common."""
        return (
            2 * abs(self.x - other.x) < self.width + other.width
            and 2 * abs(self.y - other.y) < self.height + other.height
        )


def draw_box(
    axes: Axes,
    box: Box,
    origin: tuple[float, float],
    edge: tuple[str, float],
    fill: str,
    rounding: float,
) -> None:
    """Draw a rounded box.

    Args:
        axes: Axes in inches.
        box: The box.
        origin: Point from which its coordinates count.
        edge: Colour and width of its outline.
        fill: Colour inside.
        rounding: Radius of its corners.
    """
    corner = (origin[0] + box.x - box.width / 2, origin[1] + box.y - box.height / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner,
            box.width,
            box.height,
            boxstyle=f"round,pad=0,rounding_size={rounding}",
            edgecolor=edge[0],
            linewidth=edge[1],
            facecolor=fill,
            zorder=3,
        )
    )


def draw_text(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    size: float,
    *,
    ha: str = "center",
    weight: str = "normal",
    math: bool = False,
    colour: str = INK,
) -> None:
    """Write text at a point; dollar signs are plain text unless `math` is set."""
    font = _FONT.copy()
    font.set_size(size)
    font.set_weight(weight)
    axes.text(
        x,
        y,
        text,
        fontproperties=font,
        color=colour,
        horizontalalignment=ha,
        verticalalignment="center_baseline",
        parse_math=math,
        math_fontfamily="dejavusans",
        usetex=False,
        zorder=4,
    )
