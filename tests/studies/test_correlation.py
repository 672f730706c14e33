"""Correlations against counts by hand, numpy, and full enumeration."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nas_lightning.studies.correlation import Correlation, correlate

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=12)
SMALL = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=5)


def value(found: Correlation) -> float:
    assert found.value is not None
    return found.value


def tau_b(x: list[float], y: list[float]) -> float:
    """Concordant less discordant pairs, over the geometric mean of those not tied in x, y."""
    signs = [
        (np.sign(a - c), np.sign(b - d))
        for (a, b), (c, d) in itertools.combinations(zip(x, y, strict=True), 2)
    ]
    apart_x, apart_y = (sum(bool(sign[k]) for sign in signs) for k in (0, 1))
    return float(sum(a * b for a, b in signs) / math.sqrt(apart_x * apart_y))


def ranks(values: list[float]) -> list[float]:
    """Mean of the places that equal values take."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
        for value in values
    ]


def test_five_pairs() -> None:
    pearson, spearman, kendall = correlate((1, 2, 3, 4, 5), (1, 3, 2, 5, 4))
    assert value(pearson) == pytest.approx(0.8)
    assert value(spearman) == pytest.approx(0.8)
    assert value(kendall) == pytest.approx(0.6)
    assert kendall.p == pytest.approx(28 / 120)  # published: P(|S| >= 6) for n = 5 is 0.2333
    assert [found.name for found in (pearson, spearman, kendall)] == [
        "Pearson", "Spearman", "Kendall τ-b",
    ]  # fmt: skip


@given(PAIRS)
@settings(max_examples=30, deadline=None)
def test_values_against_counts_with_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = ([float(pair[k]) for pair in pairs] for k in (0, 1))
    found = correlate(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert all(one.value is one.p is one.low is one.high is None for one in found)
        assert all(one.note is not None and "values are equal" in one.note for one in found)
        return
    assert value(found[0]) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    assert value(found[1]) == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1], abs=1e-9)
    assert value(found[2]) == pytest.approx(tau_b(x, y), abs=1e-9)
    for one in found:
        assert one.p is not None
        assert 0 <= one.p <= 1
        assert (one.low is None) == (one.high is None) == (one.note is not None)
        assert one.low is None or one.low >= -1 - 1e-9
        assert one.high is None or one.high <= 1 + 1e-9


@given(SMALL)
@settings(max_examples=15, deadline=None)
def test_p_against_all_pairings(pairs: list[tuple[int, int]]) -> None:
    x, y = ([float(pair[k]) for pair in pairs] for k in (0, 1))
    if len(set(x)) == 1 or len(set(y)) == 1:
        return
    found = correlate(x, y)

    def share(statistic: Callable[[list[float], list[float]], float]) -> float:
        here = abs(statistic(x, y))
        others = [abs(statistic(x, list(order))) for order in itertools.permutations(y)]
        return float(np.mean([other >= here - 1e-9 for other in others]))

    def pearson(a: list[float], b: list[float]) -> float:
        return float(np.corrcoef(a, b)[0, 1])

    assert found[0].p == pytest.approx(share(pearson))
    assert found[1].p == pytest.approx(share(lambda a, b: pearson(ranks(a), ranks(b))))
    assert found[2].p == pytest.approx(share(tau_b))


def test_many_pairs_against_the_t_distribution_and_the_true_coefficient() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=60)
    y = 0.6 * x + 0.8 * generator.normal(size=60)  # a correlation of 0.6
    pearson, spearman, kendall = correlate(x.tolist(), y.tolist())
    r = np.corrcoef(x, y)[0, 1]
    t = r * math.sqrt(58 / (1 - r * r))
    assert pearson.p == pytest.approx(_two_sided(t, 58), rel=1e-6)
    for found, true in (
        (pearson, 0.6),
        (spearman, 6 / math.pi * math.asin(0.3)),
        (kendall, 2 / math.pi * math.asin(0.6)),
    ):
        assert found.low is not None
        assert found.high is not None
        assert found.low < true < found.high
        assert found.high - found.low < 0.5
    # Fisher's z, which holds for such data, is near
    low, high = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / math.sqrt(57))
    assert pearson.low == pytest.approx(low, abs=0.08)
    assert pearson.high == pytest.approx(high, abs=0.08)


def _two_sided(t: float, degrees: int) -> float:
    """Both tails of the t distribution, by the trapezoidal rule."""
    grid = np.linspace(abs(t), 60, 2_000_001)
    log = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    density = np.exp(log) / math.sqrt(degrees * math.pi)
    return float(2 * np.trapezoid(density * (1 + grid**2 / degrees) ** (-(degrees + 1) / 2), grid))


def test_intervals_against_a_bootstrap_by_hand() -> None:
    generator = np.random.default_rng(3)
    for n in (12, 120):  # below and above what fits into the memory at once
        x = generator.integers(0, 9, size=n).astype(float)
        y = x + generator.integers(0, 9, size=n)
        draws = generator.integers(n, size=(1_000, n))
        for found, coefficient in zip(
            correlate(x.tolist(), y.tolist()),
            (lambda a, b: np.corrcoef(a, b)[0, 1], stats.spearmanr, stats.kendalltau),
            strict=True,
        ):
            values = [np.ravel(coefficient(x[i], y[i]))[0] for i in draws]
            low, high = np.quantile(values, [0.025, 0.975])
            assert found.low == pytest.approx(low, abs=0.06)
            assert found.high == pytest.approx(high, abs=0.06)


def test_undefined_values_have_a_reason() -> None:
    (pearson, _, _) = correlate([1.0, 2.0], [1.0, 2.0])
    assert pearson.value is None
    assert pearson.note == "a correlation needs 3 pairs"
    (_, spearman, _) = correlate([1.0, 2.0, 3.0], [5.0, 5.0, 5.0])
    assert spearman.note == "all second values are equal"
    (_, _, kendall) = correlate([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert kendall.value == 1
    assert kendall.low is None
    assert kendall.note is not None
    assert "every resample" in kendall.note
    (pearson, _, _) = correlate([1.0, 2.0, 3.0, math.nan], [1.0, 3.0, 2.0, 4.0])
    assert pearson.n == 3
    assert pearson.note is not None
    assert "1 pairs are not finite" in pearson.note


def test_pairs_are_wanted() -> None:
    with pytest.raises(ValueError, match="found 2 and 3"):
        correlate([1.0, 2.0], [1.0, 2.0, 3.0])
