"""The front of a study with budgets: the final metric of each method against its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas_lightning.architecture.budgets import recorded
from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.results import Results, Run
from nas_lightning.studies.statistics import Summary, summarize


@dataclass(frozen=True)
class Point:
    """A method in the plane of cost and final metric.

    Attributes:
        method: Name of the method, or `random`.
        budget: Its budget, in the unit of the resource; `None` for random cells, and if its
            searches had different ones.
        kept: Number of runs that keep it; `None` without a budget.
        cost: Statistics of the costs of the runs that have a final metric.
        final: Statistics of the final metrics of the same runs.
        runs: Cost and final metric of each of these runs.
        beaten: Methods that are at least as good in the mean of both, and better in one of them.
    """

    method: str
    budget: float | None
    kept: int | None
    cost: Summary
    final: Summary
    runs: tuple[tuple[float, float], ...]
    beaten: tuple[str, ...] = ()


@dataclass(frozen=True)
class Front:
    """The methods of a study that have a cost.

    Attributes:
        resource: Name of the resource; `None` if no search had a budget.
        points: Their points, by mean cost.
        without: Methods without a cost in this resource.
    """

    resource: str | None
    points: tuple[Point, ...] = ()
    without: tuple[str, ...] = ()


def front(results: Results) -> Front:
    """Return the front of a study: the methods whose runs have both a cost and a final metric.

    The resource is that of the first search with a budget. Random cells have the costs that
    searches with this resource counted.
    """
    budgets = [entry for run in results.runs if (entry := _budget(run)) is not None]
    if not budgets:
        return Front(None)
    resource: str = budgets[0]["resource"]
    random: dict[int, float] = {}
    for run in results.runs:
        if (_budget(run) or {}).get("resource") == resource:
            random |= run.costs
    points, without = [], []
    for method in results.methods:
        found = [
            (run, cost, run.final)
            for run in results.of(method)
            if run.final is not None
            and (cost := random.get(run.seed) if method == RANDOM else _cost(run, resource))
            is not None
        ]
        if found:
            points.append(_point(method, found))
        else:
            without.append(method)
    points.sort(key=lambda point: point.cost.mean or 0.0)
    marked = tuple(_marked(point, points, results.higher_is_better) for point in points)
    return Front(resource, marked, tuple(without))


def _budget(run: Run) -> Mapping[str, Any] | None:
    """Return the record of budget and cost of a search; `None` if it has none."""
    return None if run.genotype is None else recorded(run.genotype)


def _cost(run: Run, resource: str) -> float | None:
    found = _budget(run)
    return found["cost"] if found is not None and found["resource"] == resource else None


def _point(method: str, found: Sequence[tuple[Run, float, float]]) -> Point:
    entries = [entry for run, _, _ in found if (entry := _budget(run)) is not None]
    limits = {entry["budget"] for entry in entries}
    return Point(
        method,
        budget=limits.pop() if len(limits) == 1 else None,
        kept=sum(entry["cost"] <= entry["budget"] for entry in entries) if entries else None,
        cost=summarize([cost for _, cost, _ in found]),
        final=summarize([final for _, _, final in found]),
        runs=tuple((cost, final) for _, cost, final in found),
    )


def _marked(point: Point, points: Sequence[Point], higher: bool) -> Point:
    """Return the point with the methods that dominate it."""

    def place(one: Point) -> tuple[float, float]:
        assert one.cost.mean is not None
        assert one.final.mean is not None
        return one.cost.mean, -one.final.mean if higher else one.final.mean

    mine = place(point)
    beaten = tuple(
        other.method
        for other in points
        if place(other) != mine and all(a <= b for a, b in zip(place(other), mine, strict=True))
    )
    return replace(point, beaten=beaten)
