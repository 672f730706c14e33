"""The front: final metric against cost."""

from __future__ import annotations

from nas_lightning.architecture.budgets import RESOURCES, shortened
from nas_lightning.studies.report.analysis import Analysis
from nas_lightning.studies.report.front import Point
from nas_lightning.studies.report.numbers import NOTHING, interval, listed
from nas_lightning.studies.report.page import Picture, Section, Table
from nas_lightning.studies.report.plotting import drawing, legend, looks, short, to_svg

TITLE = "Final metric and cost"


def section(a: Analysis) -> Section:
    """Plot the final metric against the cost of the cells, if searches had budgets."""
    found = a.front
    if found.resource is None:
        return Section(TITLE, "")
    reading = (
        "Small dots are runs; a large one is the mean of a method, with 95 % intervals of both "
        "means. A method is dominated, and drawn hollow, if another one is at least as good in "
        "both means and better in one. Methods whose intervals overlap may change places with "
        "other seeds."
    )
    if not found.points:
        return Section(TITLE, reading, ("No run with a budget has a final metric yet.",))
    best = [point.method for point in found.points if not point.beaten]
    words = [f"Not dominated: {listed(best)}, from the smallest cost to the largest."]
    if found.without:
        words.append(f"Without a cost in this resource: {listed(list(found.without))}.")
    return Section(TITLE, reading, tuple(words), (_picture(a),), (_table(a),))


def _table(a: Analysis) -> Table:
    resource = RESOURCES[a.front.resource or ""]
    show = a.scale.show

    def amount(number: float | None) -> str:
        return NOTHING if number is None else shortened(number, resource)

    def row(point: Point) -> tuple[str, ...]:
        cost, final = point.cost, point.final
        return (
            point.method,
            listed(list(point.beaten)) or NOTHING,
            str(cost.n),
            amount(point.budget),
            NOTHING if point.kept is None else f"{point.kept} of {cost.n}",
            amount(cost.mean),
            interval(amount(cost.low), amount(cost.high)),
            show(final.mean),
            interval(show(final.low), show(final.high)),
        )

    head = (
        "method", "dominated by", "n", "budget", "kept", "mean cost", "95 % interval",
        f"mean {a.scale.label}", "95 % interval",
    )  # fmt: skip
    rows = tuple(row(point) for point in a.front.points)
    return Table(f"Means by cost, in {resource.unit}", head, rows, labels=2)


def _picture(a: Analysis) -> Picture:
    resource = RESOURCES[a.front.resource or ""]
    look = looks(a.results.methods)
    unit, suffix = _unit(
        max(cost for point in a.front.points for cost, _ in point.runs), resource.units
    )
    with drawing() as figure:
        axes = figure.add_subplot()
        for point in a.front.points:
            colour, marker = look[point.method].colour, look[point.method].marker
            costs = [cost / unit for cost, _ in point.runs]
            finals = [a.scale.factor * final for _, final in point.runs]
            axes.scatter(costs, finals, s=10, color=colour, marker=marker, alpha=0.45,
                         linewidths=1 if marker == "x" else 0)  # fmt: skip
            x, y = point.cost, point.final
            assert x.mean is not None
            assert y.mean is not None
            axes.errorbar(
                x.mean / unit,
                a.scale.factor * y.mean,
                xerr=_bars(x.mean, x.low, x.high, 1 / unit),
                yerr=_bars(y.mean, y.low, y.high, a.scale.factor),
                fmt=marker,
                color=colour,
                markersize=7,
                markerfacecolor="none" if point.beaten else colour,
                linewidth=1,
                label=short(point.method),
                zorder=3,
            )
        axes.set_xlabel(f"{suffix}{resource.unit}")
        axes.set_ylabel(a.scale.label)
        axes.ticklabel_format(useOffset=False)
        legend(figure, axes)
        title = "Final metric against cost, means with intervals, by method"
        return Picture("front", title, to_svg(figure))


def _bars(
    mean: float, low: float | None, high: float | None, factor: float
) -> list[list[float]] | None:
    """Return the lengths of the error bars; `None` without an interval."""
    if low is None or high is None:
        return None
    return [[factor * (mean - low)], [factor * (high - mean)]]


def _unit(largest: float, units: dict[str, float]) -> tuple[float, str]:
    """Return the unit of an axis and its prefix, such as `M `."""
    for suffix, words in (("G", "10⁹ "), ("M", "10⁶ "), ("k", "10³ ")):
        if suffix in units and largest >= units[suffix]:
            return units[suffix], words
    return 1.0, ""
