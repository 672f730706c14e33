"""The comparison of two methods by runs that are paired by seed."""

from __future__ import annotations

import bisect
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from nas_lightning.studies.statistics import Values, mean_interval

LEVEL = 0.05
POWER = 0.8
EXACT = 12
"""Number of pairs up to which all signs are tried: 4,096."""
MOST_RUNS = 100_000
"""Limit of `runs_needed`."""
SIGN_FLIPS = "exact sign-flip permutation test"
WILCOXON = "Wilcoxon signed-rank test"


@dataclass(frozen=True)
class Comparison:
    """The difference of two methods on the same seeds.

    Undefined values are `None`, and `note` gives the reason.

    Attributes:
        first: Name of the first method.
        second: Name of the second.
        n: Number of pairs.
        difference: Mean of first less second.
        low: Lower end of a 95 % interval of it.
        high: Its upper end.
        p: Probability of a difference this large, in either direction, if the two do not differ.
        effect: Cohen's d_z: mean of the differences in units of their standard deviation.
        runs_needed: Pairs with which a two-sided test at the 5 % level finds a difference of this
            size in 80 % of all studies.
        test: Name of the test that p comes from.
        note: Missing values and the reason.
    """

    first: str
    second: str
    n: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: float | None = None
    runs_needed: int | None = None
    test: str = SIGN_FLIPS
    note: str | None = None


def compare(first: str, second: str, pairs: Sequence[tuple[float, float]]) -> Comparison:
    """Compare two methods by runs that share their seeds.

    Up to twelve pairs p is exact: the share of all 2^n choices of the differences' signs whose
    mean is at least as far from zero. Above, it is Wilcoxon's.

    Args:
        first: Name of the first method.
        second: Name of the second.
        pairs: Results of the two on each seed; pairs that are not finite are left out.
    """
    kept = [pair for pair in pairs if all(map(math.isfinite, pair))]
    notes = [f"{len(pairs) - len(kept)} pairs are not finite, left out"] * (len(kept) < len(pairs))
    differences = np.asarray([a - b for a, b in kept], dtype=np.float64)
    n = len(differences)
    if not n:
        return Comparison(first, second, 0, note="; ".join([*notes, "no pairs"]))
    interval, missing = mean_interval(differences)
    effect = _effect(differences)
    needed = None if effect is None else runs_needed(effect)
    notes += [missing] if missing else []
    notes += [] if effect is not None else ["the effect needs differences that differ"]
    if effect is not None and needed is None:
        notes.append(f"a difference of this size needs more than {MOST_RUNS:,} pairs")
    if 2 / 2**n > LEVEL:
        notes.append(f"with {n} pairs p cannot be below {2 / 2**n:.3g}")
    return Comparison(
        first,
        second,
        n,
        difference=float(differences.mean()),
        low=interval and interval[0],
        high=interval and interval[1],
        p=_p(differences),
        effect=effect,
        runs_needed=needed,
        test=SIGN_FLIPS if n <= EXACT else WILCOXON,
        note="; ".join(notes) or None,
    )


def runs_needed(effect: float) -> int | None:
    """Return the pairs that a paired t test needs to find an effect d_z.

    Its power is 80 %, its level 5 %, two-sided.

    Args:
        effect: Mean of the differences in units of their standard deviation.

    Returns:
        At least 2; `None` if it would be more than a hundred thousand.
    """
    numbers = range(2, MOST_RUNS + 1)
    index = bisect.bisect_left(numbers, POWER, key=lambda n: power(effect, n))
    return numbers[index] if index < len(numbers) else None


def power(effect: float, n: int) -> float:
    """Return the power of a paired t test at the 5 % level for an effect d_z and n pairs.

    The test's statistic then has a noncentral t distribution with n - 1 degrees of freedom and
    noncentrality d_z · √n (Cohen, 1988).
    """
    critical = stats.t.ppf(1 - LEVEL / 2, n - 1)
    noncentrality = abs(effect) * math.sqrt(n)
    # the other tail is left out: below a power of 80 % it would add less than 0.001
    return float(stats.nct.sf(critical, n - 1, noncentrality))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for their number (Holm, 1979), in the order given.

    An adjusted value below 0.05 keeps the chance of any false finding among all below 5 %.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def _effect(differences: Values) -> float | None:
    if len(differences) < 2 or np.ptp(differences) <= 1e-12 * np.abs(differences).max():
        return None
    return float(differences.mean() / differences.std(ddof=1))


def _p(differences: Values) -> float:
    if not differences.any():
        return 1.0
    if len(differences) > EXACT:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ties: the normal approximation is meant
            return float(stats.wilcoxon(differences).pvalue)
    n = len(differences)
    signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)  # (2^n, n), the first all 1
    means = np.abs((signs * differences).sum(1))
    return float(np.mean(means >= means[0] * (1 - 1e-9)))
