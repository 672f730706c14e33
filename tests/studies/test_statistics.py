"""Summaries of a few numbers, against numpy by hand and a simulation."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_lightning.studies.statistics import summarize

NUMBERS = st.lists(st.floats(-1e6, 1e6, allow_nan=False), max_size=12)


def test_against_values_by_hand() -> None:
    found = summarize([1.0, 2.0, 4.0, 3.0, 10.0])
    assert found.n == 5
    assert (found.mean, found.median, found.min, found.max) == (4.0, 3.0, 1.0, 10.0)
    assert found.std == pytest.approx(math.sqrt((9 + 4 + 0 + 1 + 36) / 4))
    assert found.iqr == 2.0  # from 2, the second of five, to 4
    assert found.note is None
    assert found.low is not None
    assert found.high is not None
    assert 1.0 < found.low < 4.0 < found.high < 10.0


def test_a_skewed_sample_has_a_skewed_interval() -> None:
    found = summarize([10.0, 92.0, 93.0, 93.4, 93.0, 92.5, 93.1])
    assert found.low is not None
    assert found.high is not None
    assert found.mean is not None
    assert found.mean - found.low > 2 * (found.high - found.mean)


@given(NUMBERS)
@settings(max_examples=60, deadline=None)
def test_no_field_is_ever_nan_and_the_standard_library_agrees(values: list[float]) -> None:
    found = summarize(values)
    fields = (found.mean, found.std, found.min, found.max, found.median, found.iqr)
    assert all(math.isfinite(x) for x in (*fields, found.low, found.high) if x is not None)
    assert (found.low is None) == (found.high is None)
    assert found.note is not None or found.low is not None
    if values:
        assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
        assert found.median == pytest.approx(statistics.median(values))
    if len(values) > 1:
        assert found.std == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
    if found.low is not None and found.high is not None:
        assert min(values) - 1e-6 <= found.low <= found.high <= max(values) + 1e-6


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([], "no values"),
        ([0.5], "std needs 2 runs"),
        ([0.5, 0.6], "the interval needs 3 runs"),
        ([0.5] * 4, "all values are equal"),
        ([0.5, math.nan, 0.6, math.inf, 0.7], "2 not finite, left out"),
    ],
)
def test_missing_values_have_a_reason(values: list[float], note: str) -> None:
    found = summarize(values)
    assert found.note is not None
    assert note in found.note
    assert found.n == sum(map(math.isfinite, values))
    if found.n < 3:
        assert found.low is None


def test_it_is_the_same_every_time() -> None:
    values = np.random.default_rng(1).normal(size=10).tolist()
    assert summarize(values) == summarize(values)


def test_the_interval_covers_the_mean_nearly_as_often_as_it_says() -> None:
    samples = np.random.default_rng(0).normal(loc=3.0, size=(200, 20))
    covered = 0
    for sample in samples:
        found = summarize(sample.tolist())
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 3.0 <= found.high
    assert 0.88 <= covered / len(samples) <= 0.99
