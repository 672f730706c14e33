"""Proxies of the final metric that a search knows: their correlations and rankings."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from nas_lightning.studies.correlation import Correlation, correlate
from nas_lightning.studies.plan import RANDOM
from nas_lightning.studies.results import Results, Run

ALL = "all methods"
CLEAR = 0.5
"""Least Kendall's τ at which a proxy reflects the final metric clearly."""
PROXIES = ("one_shot", "supernet")
TITLES = {"one_shot": "one-shot metric", "supernet": "supernet's metric"}

Coefficients = tuple[Correlation, Correlation, Correlation]


@dataclass(frozen=True)
class Ranking:
    """The ranking of the random cells by the supernet of one search.

    Attributes:
        method: Method of the search.
        seed: Seed of the search.
        n: Number of random cells that have both a score in the supernet and a final metric.
        tau: Kendall's τ-b of scores and final metrics; `None` if it is undefined.
        note: Reason why τ is undefined; `None` if it is defined.
    """

    method: str
    seed: int
    n: int
    tau: float | None
    note: str | None = None


def pairs(runs: Sequence[Run], proxy: str) -> list[tuple[float, float]]:
    """Return the proxy and the final metric of each run that has both.

    Args:
        runs: Searches.
        proxy: One of `PROXIES`.
    """
    found = [(getattr(run, proxy), run.final) for run in runs]
    return [(x, y) for x, y in found if x is not None and y is not None]


def correlations(results: Results) -> Mapping[str, Mapping[str, Coefficients]]:
    """Compute three correlations for each proxy, for each method and for all methods together."""
    methods = [method for method in results.methods if method != RANDOM]
    groups = {method: results.of(method) for method in methods}
    if len(methods) != 1:
        groups[ALL] = [run for method in methods for run in results.of(method)]
    return {
        proxy: {name: _correlate(pairs(runs, proxy)) for name, runs in groups.items()}
        for proxy in PROXIES
    }


def rankings(results: Results) -> tuple[Ranking, ...]:
    """Rate how well the supernet of each search ranks the random cells."""
    finals = {run.seed: run.final for run in results.of(RANDOM)}
    return tuple(_ranking(run, finals) for run in results.runs if run.scores)


def strength(tau: Correlation) -> str:
    """Say how clearly a proxy reflects the final metric, by the interval of τ.

    Returns:
        `undefined`, `does not` if the interval contains 0, `against` if it is below 0, `weakly`
        or `clearly` if it is above 0 and τ is below `CLEAR` or not.
    """
    if tau.value is None or tau.low is None or tau.high is None:
        return "undefined"
    if tau.high < 0:
        return "against"
    if tau.low <= 0:
        return "does not"
    return "clearly" if tau.value >= CLEAR else "weakly"


def _correlate(points: Sequence[tuple[float, float]]) -> Coefficients:
    return correlate([x for x, _ in points], [y for _, y in points])


def _ranking(run: Run, finals: Mapping[int, float | None]) -> Ranking:
    # without `correlate`, which computes an interval for every search: here searches are the sample
    points = [
        (score, final)
        for number, score in sorted(run.scores.items())
        if (final := finals.get(number)) is not None
    ]
    if len(points) < 3:
        return Ranking(run.method, run.seed, len(points), None, "a correlation needs 3 cells")
    scores, values = zip(*points, strict=True)
    if len(set(scores)) == 1 or len(set(values)) == 1:
        what = "scores" if len(set(scores)) == 1 else "final metrics"
        return Ranking(run.method, run.seed, len(points), None, f"all {what} are equal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about p, which is not used
        tau = float(stats.kendalltau(scores, values).statistic)
    return Ranking(run.method, run.seed, len(points), tau)
