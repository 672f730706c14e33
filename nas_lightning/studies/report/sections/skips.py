"""Skip connections over the epochs, and collapsed searches."""

from __future__ import annotations

from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.collapse import RULE
from nas_lightning.studies.report.numbers import cell_name, count
from nas_lightning.studies.report.page import Picture, Section, Table
from nas_lightning.studies.report.plotting import (
    MANY,
    SMALL,
    drawing,
    jitter,
    looks,
    short,
    to_svg,
    whole_numbers,
)
from nas_lightning.studies.report.trajectories import Curve, curve, kinds

PREFIX = "search/skips_"
SUM = "search/skips"
"""Name of the sum over all kinds of cells, for searches of many kinds and of choices."""


def section(a: Analysis) -> Section:
    """Plot the skips of the genotype in each epoch, and list the collapsed searches."""
    reading = (
        "Number of kept edges with a skip connection in the genotype of each epoch. A number that "
        f"keeps rising is a warning. {RULE}"
    )
    pictures = _pictures(a)
    words = []
    if not pictures:
        words.append("No search has logged skip connections.")
    ended = sum(run.genotype is not None for m in a.searches for run in a.results.of(m))
    collapsed = len({(c.run.method, c.run.seed) for c in a.collapses})
    if not ended:
        words.append("No search has ended yet.")
    else:
        words.append(f"{collapsed} of {count(ended, 'search')} collapsed.")
    return Section("Skip connections", reading, tuple(words), pictures, _tables(a))


def _pictures(a: Analysis) -> tuple[Picture, ...]:
    """Draw a picture for each method and kind, since lines of whole numbers hide each other."""
    found = [
        (number, method, kind, curves)
        for number, method in enumerate(a.searches)
        for kind, key in _keys(a, method)
        if (curves := [c for run in a.results.of(method) if (c := curve(run, key))])
    ]
    most = max((float(c.values.max()) for *_, curves in found for c in curves), default=0.0)
    return tuple(_picture(a, *parts, most) for parts in found)


def _keys(a: Analysis, method: str) -> list[tuple[str, str]]:
    """Return for each logged count its name in titles and its name in the logs."""
    found = kinds(a.results.of(method), PREFIX)
    if len(found) > MANY:
        return [("all cells", SUM)]
    if not found and any(curve(run, SUM) for run in a.results.of(method)):
        return [("all choices", SUM)]
    return [(cell_name(kind), PREFIX + kind) for kind in found]


def _picture(
    a: Analysis, number: int, method: str, what: str, curves: list[Curve], most: float
) -> Picture:
    colour = looks(a.results.methods)[method].colour
    with drawing(SMALL) as figure:
        axes = figure.add_subplot()
        offsets = jitter(len(curves), 0.3)  # so that equal counts do not hide each other
        for line, offset in zip(curves, offsets, strict=True):
            axes.step(
                line.epochs,
                line.values + offset,
                where="mid",
                color=colour,
                linewidth=0.8,
                alpha=0.6,
            )
        axes.set_ylim(-0.4, most + 0.6)
        axes.set_xlabel("epoch")
        axes.set_ylabel("skip connections")
        axes.set_title(f"{short(method)}, {what}", parse_math=False)
        whole_numbers(axes.xaxis, axes.yaxis)
        title = f"Skip connections of {method} over the epochs, {what}"
        return Picture(
            f"skips_{number}_{what.replace(' ', '_')}", title, to_svg(figure), small=True
        )


def _tables(a: Analysis) -> tuple[Table, ...]:
    if not a.collapses:
        return ()
    rows = tuple(
        (
            c.run.method,
            c.kind,
            str(c.run.seed),
            str(c.skips),
            str(c.edges),
            a.scale.show(c.run.final),
        )
        for c in a.collapses
    )
    head = ("method", "cell", "seed", "skips", "kept edges", f"final {a.scale.label}")
    return (Table("Collapsed searches", head, rows, labels=2),)
