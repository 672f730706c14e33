"""Rank correlations of the same cells in two rankings, with intervals and p values."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nas_lightning.studies.statistics import LEVEL, Values

RESAMPLES = 1_000
BATCH = 100
"""Number of resamples in memory at a time."""
EXACT = 7
"""Number of pairs up to which all n! pairings are tried: 5,040."""
SMALL = 100
"""Number of pairs up to which all pairs of pairs are compared at once."""

PEARSON, SPEARMAN, KENDALL = "Pearson", "Spearman", "Kendall τ-b"


@dataclass(frozen=True)
class Correlation:
    """A correlation coefficient. Undefined values are `None`, and `note` gives the reason.

    Attributes:
        name: `Pearson`, `Spearman` or `Kendall τ-b`.
        value: The coefficient, from -1 to 1.
        low: Lower end of a 95 % interval.
        high: Its upper end.
        p: Probability that unrelated pairs correlate at least this much, in either direction.
        n: Number of pairs.
        note: Missing values and the reason.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    note: str | None = None


@dataclass(frozen=True)
class _Coefficient:
    """A coefficient with its computation and its scores of two pairs (Daniels, 1944).

    Its numerator is the sum over i, j of score(x)_ij · score(y)_ij; the denominator does not
    depend on which x is paired with which y.

    Args:
        name: Its name.
        compute: Returns value and p of pairs, x (n,) and y (n,).
        resampled: Returns values (R,) of resamples, x (R, n) and y (R, n); nan for a constant one.
        scores: Returns scores (n, n) of numbers (n,).
    """

    name: str
    compute: Callable[[Values, Values], tuple[float, float]]
    resampled: Callable[[Values, Values], Values]
    scores: Callable[[Values], Values]


def correlate(
    x: Sequence[float], y: Sequence[float]
) -> tuple[Correlation, Correlation, Correlation]:
    """Compute Pearson's, Spearman's and Kendall's correlation of pairs.

    Intervals come from a bootstrap of the pairs (percentiles; Efron and Tibshirani, 1993, section
    13.3), with a fixed generator. Resamples in which x or y is constant are dropped. p is exact
    for up to seven pairs: all pairings are tried. Above, it is scipy's: from the t distribution for
    Pearson and Spearman; for Kendall exact without ties, else from the normal distribution.

    Args:
        x: Finite numbers (n,).
        y: Finite numbers (n,).

    Returns:
        Pearson, Spearman, Kendall τ-b.

    Raises:
        ValueError: x and y are of different length.
    """
    if len(x) != len(y):
        raise ValueError(f"expected pairs, found {len(x)} and {len(y)} numbers")
    kept = [pair for pair in zip(x, y, strict=True) if all(map(math.isfinite, pair))]
    left_out = len(x) - len(kept)
    data = np.asarray(kept, dtype=np.float64).reshape(-1, 2)
    note = f"{left_out} pairs are not finite, left out" if left_out else None
    pearson, spearman, kendall = (
        _correlation(coefficient, data[:, 0], data[:, 1], note) for coefficient in COEFFICIENTS
    )
    return pearson, spearman, kendall


def _correlation(coefficient: _Coefficient, x: Values, y: Values, note: str | None) -> Correlation:
    notes = [note] if note else []
    if why := _undefined(x, y):
        return Correlation(coefficient.name, None, None, None, None, len(x), _join(notes, why))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant resamples are dropped below
        value, p = coefficient.compute(x, y)
        draws = stats.bootstrap(
            (x, y),
            lambda a, b, axis: coefficient.resampled(np.atleast_2d(a), np.atleast_2d(b)),  # noqa: ARG005 (scipy names it)
            paired=True,
            vectorized=True,
            method="percentile",
            n_resamples=RESAMPLES,
            batch=BATCH,
            rng=0,
        ).bootstrap_distribution
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if len(x) <= EXACT:
        p = _exact_p(coefficient.scores(x), coefficient.scores(y))
    if high - low < 1e-12:
        why = "every resample gives the same value, so there is no interval"
        return Correlation(coefficient.name, value, None, None, p, len(x), _join(notes, why))
    return Correlation(
        coefficient.name, value, float(low), float(high), p, len(x), _join(notes, None)
    )


def _undefined(x: Values, y: Values) -> str | None:
    """Return the reason if a correlation is undefined, else `None`."""
    if len(x) < 3:
        return "a correlation needs 3 pairs"
    constant = [name for name, values in (("first", x), ("second", y)) if np.ptp(values) == 0]
    return f"all {' and all '.join(constant)} values are equal" if constant else None


def _exact_p(x: Values, y: Values) -> float:
    """Return the share of all pairings whose numerator is at least that of the given pairs.

    Args:
        x: Scores (n, n).
        y: Scores (n, n).
    """
    orders = np.asarray(list(itertools.permutations(range(len(x)))))  # (n!, n)
    numerators = np.abs((x * y[orders[:, :, None], orders[:, None, :]]).sum((1, 2)))
    # the first order is the given one; equal sums differ by rounding
    return float(np.mean(numerators >= numerators[0] * (1 - 1e-9)))


def _join(notes: Sequence[str], why: str | None) -> str | None:
    return "; ".join([*notes, *([why] if why else [])]) or None


def _pearson(x: Values, y: Values) -> tuple[float, float]:
    found = stats.pearsonr(x, y)
    return float(found.statistic), float(found.pvalue)


def _spearman(x: Values, y: Values) -> tuple[float, float]:
    found = stats.spearmanr(x, y)
    return float(found.statistic), float(found.pvalue)


def _kendall(x: Values, y: Values) -> tuple[float, float]:
    found = stats.kendalltau(x, y)
    return float(found.statistic), float(found.pvalue)


def _pearsons(x: Values, y: Values) -> Values:
    return np.asarray(stats.pearsonr(x, y, axis=-1).statistic)


def _spearmans(x: Values, y: Values) -> Values:
    return _pearsons(stats.rankdata(x, axis=-1), stats.rankdata(y, axis=-1))


def _kendalls(x: Values, y: Values) -> Values:
    if x.shape[1] > SMALL:  # pairs of pairs would fill the memory
        return np.asarray([_kendall(*pair)[0] for pair in zip(x, y, strict=True)])
    a, b = _comparisons(x), _comparisons(y)
    apart = np.abs(a).sum((1, 2)) * np.abs(b).sum((1, 2))
    return np.asarray((a * b).sum((1, 2)) / np.sqrt(apart))


def _comparisons(values: Values) -> NDArray[np.int8]:
    """Return the signs of the differences (R, n, n) of numbers (R, n)."""
    rows, columns = values[:, :, None], values[:, None, :]
    return (rows > columns).astype(np.int8) - (rows < columns).astype(np.int8)


def _differences(values: Values) -> Values:
    return values[:, None] - values[None, :]


def _rank_differences(values: Values) -> Values:
    return _differences(stats.rankdata(values))


def _signs(values: Values) -> Values:
    return np.sign(_differences(values))


COEFFICIENTS = (
    _Coefficient(PEARSON, _pearson, _pearsons, _differences),
    _Coefficient(SPEARMAN, _spearman, _spearmans, _rank_differences),
    _Coefficient(KENDALL, _kendall, _kendalls, _signs),
)
