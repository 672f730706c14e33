"""Style of the pictures of a report, and their conversion to SVG.

Pictures are drawn with placeholder colours for ink and paper. In the HTML page these are replaced
by the colours of the page, which has a light and a dark mode. In files the paper is white.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas_lightning.studies.plan import RANDOM

INK = "#222324"
PAPER = "#fdfefd"
FAINT = "#8a8f98"
WIDE = (4.5, 2.8)
"""Width and height in inches of a single picture."""
SMALL = (3.5, 2.5)
"""Width and height in inches of one of several pictures side by side."""
SETTINGS: dict[str, Any] = {
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "figure.facecolor": PAPER,
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "grid.alpha": 0.3,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # keep text as text
    "svg.hashsalt": "nas-lightning",
    "text.color": INK,
    "text.parse_math": False,  # names of methods are plain text
    "text.usetex": False,
    "xtick.color": INK,
    "xtick.labelsize": 7.5,
    "ytick.color": INK,
    "ytick.labelsize": 7.5,
}
# Okabe and Ito's palette: distinct with any colour vision; markers differ as well
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p")
MANY = 4
"""Largest number of kinds of cells for which every kind has its own pictures."""
LONGEST = 24
"""Most letters of a method's name in a picture."""
JITTER = 0.618034
"""Fractional part of the golden ratio; its multiples modulo 1 fill a range evenly."""


@dataclass(frozen=True)
class Look:
    """Colour and marker of a method's runs."""

    colour: str
    marker: str


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """Return a look for each method; random cells are grey crosses."""
    searched = [method for method in methods if method != RANDOM]
    found = {
        method: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for i, method in enumerate(searched)
    }
    return {**found, RANDOM: Look(FAINT, "x")}


@contextmanager
def drawing(size: tuple[float, float] = WIDE) -> Iterator[Figure]:
    """Provide an empty figure in the style of the report, whatever the user's own settings are.

    Args:
        size: Width and height in inches.
    """
    with style.context(["default", SETTINGS]):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def short(name: str) -> str:
    """Shorten a name to `LONGEST` letters, to leave room in a picture."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """Add a legend of `axes` below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def whole_numbers(*axes: Axis) -> None:
    """Place ticks at whole numbers only."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def jitter(number: int, width: float) -> list[float]:
    """Return offsets from -width / 2 to width / 2 that keep neighbouring dots apart."""
    return [width * ((JITTER * (i + 1)) % 1 - 0.5) for i in range(number)]


def to_svg(figure: Figure) -> str:
    """Return a figure as an SVG document; equal figures give equal text."""
    buffer = io.StringIO()
    with style.context(["default", SETTINGS]):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r"\s*<style type=\"text/css\">.*?</style>", "", text)
    # two decimals are enough for any screen and save two thirds of the size
    text = re.sub(r' d="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)
    return re.sub(r"font-family: [^;\"]*", "font-family: 'DejaVu Sans', Verdana, sans-serif", text)


def as_file(svg: str) -> str:
    """Return the document with white paper, for files."""
    return svg.replace(PAPER, "#ffffff")


def inline(svg: str, name: str) -> str:
    """Return the document as an HTML element, with colours and fonts of the page and unique ids.

    The class of the element is `clear`, or `paper` if it was drawn on white paper and keeps it.

    Args:
        svg: The document.
        name: A prefix of ids, unique on the page.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r' xmlns(:xlink)?="[^"]*"', "", element).replace("xlink:href", "href")
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'(url\(|href=")#', rf"\1#{name}-", element)
    element = re.sub(r"font-family: [^;\"]*;? ?", "", element)
    width = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', element)
    assert width is not None
    paper = "clear" if PAPER in element else "paper"
    element = element.replace(width[0], f'class="{paper}" style="--width: {width[1]}"', 1)
    return element.replace(PAPER, "none").replace(INK, "currentColor").strip()
